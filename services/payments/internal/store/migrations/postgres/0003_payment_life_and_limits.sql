-- The whole life of a payment: authorized and captured later, in parts, voided and refunded; with fees, suspensions, and limits.
--
-- The ledger transaction is no foreign key any more: it is written in the same transaction, and the look-up costs more than it shows.
ALTER TABLE payments DROP CONSTRAINT payments_state_check;
ALTER TABLE payments DROP CONSTRAINT payments_captured;
ALTER TABLE payments DROP CONSTRAINT payments_declined;
ALTER TABLE payments DROP CONSTRAINT payments_transaction_id_fkey;
ALTER TABLE payments
    ADD COLUMN capture_mode TEXT NOT NULL DEFAULT 'AUTOMATIC' CHECK (capture_mode IN ('AUTOMATIC', 'MANUAL')),
    -- The merchant's when the payment was made.
    ADD COLUMN category_code BIGINT NOT NULL DEFAULT 0,
    -- Sums in minor units: of captures, of what was released of the hold, of refunds, of fees, and of fees given back.
    ADD COLUMN captured BIGINT NOT NULL DEFAULT 0 CHECK (captured >= 0),
    ADD COLUMN released BIGINT NOT NULL DEFAULT 0 CHECK (released >= 0),
    ADD COLUMN refunded BIGINT NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    ADD COLUMN fee BIGINT NOT NULL DEFAULT 0 CHECK (fee >= 0),
    ADD COLUMN fee_back BIGINT NOT NULL DEFAULT 0 CHECK (fee_back >= 0),
    -- How many captures and refunds there were.
    ADD COLUMN captures BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN refunds BIGINT NOT NULL DEFAULT 0,
    -- Until when what is left of the hold is good.
    ADD COLUMN authorization_expires_at BIGINT,
    ADD COLUMN offline BIGINT NOT NULL DEFAULT 0 CHECK (offline IN (0, 1)),
    ADD COLUMN assurance BIGINT NOT NULL DEFAULT 0,
    -- The assurance that the tap needs, and why.
    ADD COLUMN need_level BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN need_reason TEXT NOT NULL DEFAULT '',
    -- Which limit counters it was reserved on, as JSON.
    ADD COLUMN reserved TEXT NOT NULL DEFAULT '',
    -- Grows with every change.
    ADD COLUMN revision BIGINT NOT NULL DEFAULT 1,
    ADD CONSTRAINT payments_state CHECK (state IN ('AWAITING_TAP', 'AUTHORIZED', 'PARTIALLY_CAPTURED', 'CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED',
        'DECLINED', 'EXPIRED', 'VOIDED'));
UPDATE payments SET captured = amount, captures = 1 WHERE state = 'CAPTURED';
UPDATE payments SET category_code = (SELECT category_code FROM merchants m WHERE m.id = payments.merchant);
ALTER TABLE payments
    -- The money has moved if and only if the payment says so.
    ADD CONSTRAINT payments_captured CHECK ((captured > 0) = (transaction_id IS NOT NULL)),
    ADD CONSTRAINT payments_moved CHECK ((captured > 0) = (state IN ('PARTIALLY_CAPTURED', 'CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED'))),
    ADD CONSTRAINT payments_declined CHECK ((state = 'DECLINED') = (decline_reason <> '')),
    -- Never more is captured than was approved, and never more given back than was captured.
    ADD CONSTRAINT payments_amounts CHECK (captured <= amount - released AND refunded <= captured AND fee <= captured AND fee_back <= fee),
    ADD CONSTRAINT payments_held CHECK ((authorization_expires_at IS NOT NULL) = (state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED')));
-- Room on each page for the next state of a payment.
ALTER TABLE payments SET (fillfactor = 80);
CREATE INDEX payments_held_until ON payments (authorization_expires_at) WHERE authorization_expires_at IS NOT NULL;
CREATE INDEX payments_of_device ON payments (device, created_at, id);
CREATE INDEX payments_of_terminal ON payments (terminal, created_at, id) WHERE terminal <> '';

ALTER TABLE merchants ADD COLUMN fee_basis_points BIGINT NOT NULL DEFAULT 0 CHECK (fee_basis_points BETWEEN 0 AND 10000);
ALTER TABLE merchants ADD COLUMN fee_fixed        BIGINT NOT NULL DEFAULT 0 CHECK (fee_fixed >= 0);
ALTER TABLE merchants ADD COLUMN fee_returned     BIGINT NOT NULL DEFAULT 0 CHECK (fee_returned IN (0, 1));
ALTER TABLE merchants ADD COLUMN cut_off          TEXT   NOT NULL DEFAULT '';
ALTER TABLE merchants ADD COLUMN time_zone        TEXT   NOT NULL DEFAULT '';
ALTER TABLE merchants ADD COLUMN payout_account   TEXT   NOT NULL DEFAULT '';
ALTER TABLE merchants ADD COLUMN suspended        BIGINT NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1));
ALTER TABLE terminals ADD COLUMN suspended        BIGINT NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1));
CREATE INDEX merchants_newest ON merchants (created_at, id);
CREATE INDEX terminals_of_merchant ON terminals (merchant, id);

-- What the operator keeps of captures, one account a currency.
INSERT INTO ledger_accounts (id, kind, currency, min_balance, created_at)
SELECT 'fee/' || currency, 'fee', currency, 0, MIN(created_at) FROM merchants GROUP BY currency;

-- What payments in a currency may be, as JSON.
CREATE TABLE limit_policies (
    currency   TEXT   NOT NULL PRIMARY KEY,
    policy     TEXT   NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What was reserved of each limit: by account, device or category for a day, and by device since its last strong authentication.
CREATE TABLE limit_counters (
    id         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    amount     BIGINT NOT NULL CHECK (amount >= 0),
    taps       BIGINT NOT NULL CHECK (taps >= 0),
    -- Grows when counting begins anew, so that nothing from before is given back.
    generation BIGINT NOT NULL,
    -- After this nobody looks at it any more; NULL is never.
    expires_at BIGINT
);
CREATE INDEX limit_counters_over ON limit_counters (expires_at) WHERE expires_at IS NOT NULL;
