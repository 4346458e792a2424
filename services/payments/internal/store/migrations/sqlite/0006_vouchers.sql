-- Payments with a voucher: the amount is what was left to pay, amount + discount was the price.
ALTER TABLE payments ADD COLUMN voucher  TEXT NOT NULL DEFAULT '';
ALTER TABLE payments ADD COLUMN discount INTEGER NOT NULL DEFAULT 0 CHECK (discount >= 0);

-- Payments that may have a voucher reserved and are not stored yet. A hold that stays is given up.
CREATE TABLE voucher_holds (
    payment TEXT NOT NULL PRIMARY KEY,
    held_at INTEGER NOT NULL
) STRICT;
CREATE INDEX voucher_holds_oldest ON voucher_holds (held_at);
