-- The whole life of a payment: authorized and captured later, in parts, voided and refunded; with fees, suspensions, and limits.
--
-- The ledger transaction is no foreign key any more: it is written in the same transaction, and the look-up costs more than it shows.
-- SQLite changes no constraint of a table, so payments is made anew. Rows that refer to it wait for the end.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE old_payments AS SELECT * FROM payments;
DROP TABLE payments;

CREATE TABLE payments (
    id              TEXT    NOT NULL PRIMARY KEY,
    state           TEXT    NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount > 0),
    currency        TEXT    NOT NULL,
    merchant        TEXT    NOT NULL REFERENCES merchants (id),
    merchant_name   TEXT    NOT NULL,
    terminal        TEXT    NOT NULL,
    device          TEXT    NOT NULL,
    partner         TEXT    NOT NULL,
    account         TEXT    NOT NULL REFERENCES accounts (id),
    mode            TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    creator         TEXT    NOT NULL,
    challenge       TEXT    NOT NULL,
    challenge_frame BLOB    NOT NULL,
    tap_expires_at  INTEGER NOT NULL,
    requirements    TEXT    NOT NULL,
    pong_key        BLOB,
    decline_reason  TEXT    NOT NULL DEFAULT '',
    transaction_id  TEXT,
    response_digest BLOB,
    result_frame    BLOB,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    capture_mode TEXT NOT NULL DEFAULT 'AUTOMATIC' CHECK (capture_mode IN ('AUTOMATIC', 'MANUAL')),
    -- The merchant's when the payment was made.
    category_code INTEGER NOT NULL DEFAULT 0,
    -- Sums in minor units: of captures, of what was released of the hold, of refunds, of fees, and of fees given back.
    captured INTEGER NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released INTEGER NOT NULL DEFAULT 0 CHECK (released >= 0),
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    fee INTEGER NOT NULL DEFAULT 0 CHECK (fee >= 0),
    fee_back INTEGER NOT NULL DEFAULT 0 CHECK (fee_back >= 0),
    -- How many captures and refunds there were.
    captures INTEGER NOT NULL DEFAULT 0,
    refunds INTEGER NOT NULL DEFAULT 0,
    -- Until when what is left of the hold is good.
    authorization_expires_at INTEGER,
    offline INTEGER NOT NULL DEFAULT 0 CHECK (offline IN (0, 1)),
    assurance INTEGER NOT NULL DEFAULT 0,
    -- The assurance that the tap needs, and why.
    need_level INTEGER NOT NULL DEFAULT 0,
    need_reason TEXT NOT NULL DEFAULT '',
    -- Which limit counters it was reserved on, as JSON.
    reserved TEXT NOT NULL DEFAULT '',
    -- Grows with every change.
    revision INTEGER NOT NULL DEFAULT 1,
    CONSTRAINT payments_state CHECK (state IN ('AWAITING_TAP', 'AUTHORIZED', 'PARTIALLY_CAPTURED', 'CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED',
        'DECLINED', 'EXPIRED', 'VOIDED')),
    -- The money has moved if and only if the payment says so.
    CONSTRAINT payments_captured CHECK ((captured > 0) = (transaction_id IS NOT NULL)),
    CONSTRAINT payments_moved CHECK ((captured > 0) = (state IN ('PARTIALLY_CAPTURED', 'CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED'))),
    CONSTRAINT payments_declined CHECK ((state = 'DECLINED') = (decline_reason <> '')),
    -- Never more is captured than was approved, and never more given back than was captured.
    CONSTRAINT payments_amounts CHECK (captured <= amount - released AND refunded <= captured AND fee <= captured AND fee_back <= fee),
    CONSTRAINT payments_held CHECK ((authorization_expires_at IS NOT NULL) = (state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED')))
) STRICT;
INSERT INTO payments (id, state, amount, currency, merchant, merchant_name, terminal, device, partner, account, mode, creator,
    challenge, challenge_frame, tap_expires_at, requirements, pong_key, decline_reason, transaction_id, response_digest, result_frame, created_at, updated_at,
    category_code, captured, captures)
SELECT id, state, amount, currency, merchant, merchant_name, terminal, device, partner, account, mode, creator,
    challenge, challenge_frame, tap_expires_at, requirements, pong_key, decline_reason, transaction_id, response_digest, result_frame, created_at, updated_at,
    (SELECT category_code FROM merchants m WHERE m.id = o.merchant),
    CASE state WHEN 'CAPTURED' THEN amount ELSE 0 END, CASE state WHEN 'CAPTURED' THEN 1 ELSE 0 END
FROM old_payments o;
DROP TABLE old_payments;
CREATE INDEX payments_newest ON payments (created_at, id);
CREATE INDEX payments_of_merchant ON payments (merchant, created_at, id);
CREATE INDEX payments_of_account ON payments (account, created_at, id);
CREATE INDEX payments_of_partner ON payments (partner, mode, created_at, id);
CREATE INDEX payments_awaiting ON payments (tap_expires_at) WHERE state = 'AWAITING_TAP';
CREATE INDEX payments_held_until ON payments (authorization_expires_at) WHERE authorization_expires_at IS NOT NULL;
CREATE INDEX payments_of_device ON payments (device, created_at, id);
CREATE INDEX payments_of_terminal ON payments (terminal, created_at, id) WHERE terminal <> '';

ALTER TABLE merchants ADD COLUMN fee_basis_points INTEGER NOT NULL DEFAULT 0 CHECK (fee_basis_points BETWEEN 0 AND 10000);
ALTER TABLE merchants ADD COLUMN fee_fixed        INTEGER NOT NULL DEFAULT 0 CHECK (fee_fixed >= 0);
ALTER TABLE merchants ADD COLUMN fee_returned     INTEGER NOT NULL DEFAULT 0 CHECK (fee_returned IN (0, 1));
ALTER TABLE merchants ADD COLUMN cut_off          TEXT    NOT NULL DEFAULT '';
ALTER TABLE merchants ADD COLUMN time_zone        TEXT    NOT NULL DEFAULT '';
ALTER TABLE merchants ADD COLUMN payout_account   TEXT    NOT NULL DEFAULT '';
ALTER TABLE merchants ADD COLUMN suspended        INTEGER NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1));
ALTER TABLE terminals ADD COLUMN suspended        INTEGER NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1));
CREATE INDEX merchants_newest ON merchants (created_at, id);
CREATE INDEX terminals_of_merchant ON terminals (merchant, id);

-- What the operator keeps of captures, one account a currency.
INSERT INTO ledger_accounts (id, kind, currency, min_balance, created_at)
SELECT 'fee/' || currency, 'fee', currency, 0, MIN(created_at) FROM merchants GROUP BY currency;

-- What payments in a currency may be, as JSON.
CREATE TABLE limit_policies (
    currency   TEXT    NOT NULL PRIMARY KEY,
    policy     TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What was reserved of each limit: by account, device or category for a day, and by device since its last strong authentication.
CREATE TABLE limit_counters (
    id         TEXT    NOT NULL PRIMARY KEY,
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    taps       INTEGER NOT NULL CHECK (taps >= 0),
    -- Grows when counting begins anew, so that nothing from before is given back.
    generation INTEGER NOT NULL,
    -- After this nobody looks at it any more; NULL is never.
    expires_at INTEGER
) STRICT;
CREATE INDEX limit_counters_over ON limit_counters (expires_at) WHERE expires_at IS NOT NULL;
