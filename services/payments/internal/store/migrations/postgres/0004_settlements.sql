-- A merchant's days, netted. One that is still open has its range of entries of the merchant's ledger account and its sums, but
-- its payout was not posted yet or that was not noted; whoever finds it goes on with it.
CREATE TABLE settlements (
    id             TEXT   NOT NULL PRIMARY KEY,
    merchant       TEXT   NOT NULL REFERENCES merchants (id),
    -- Counts the merchant's settlements, from 1 without a gap.
    number         BIGINT NOT NULL CHECK (number > 0),
    currency       TEXT   NOT NULL,
    starts_at      BIGINT NOT NULL,
    ends_at        BIGINT NOT NULL,
    -- The last entry of the settlement before, and the last one of this, with their times and the balances after them.
    after_entry    BIGINT NOT NULL CHECK (after_entry >= 0),
    after_at       BIGINT NOT NULL,
    after_balance  BIGINT NOT NULL,
    last_entry     BIGINT NOT NULL,
    last_at        BIGINT NOT NULL,
    last_balance   BIGINT NOT NULL,
    carried_in     BIGINT NOT NULL,
    captured       BIGINT NOT NULL,
    refunded       BIGINT NOT NULL,
    fees           BIGINT NOT NULL,
    paid_out       BIGINT NOT NULL DEFAULT 0 CHECK (paid_out >= 0),
    carried_out    BIGINT NOT NULL,
    entry_count    BIGINT NOT NULL,
    transaction_id TEXT   NOT NULL DEFAULT '',
    payout_account TEXT   NOT NULL,
    -- NULL while it is open.
    created_at     BIGINT,
    CONSTRAINT settlements_once UNIQUE (merchant, number),
    CONSTRAINT settlements_range CHECK (last_entry > after_entry AND ends_at > starts_at),
    CONSTRAINT settlements_net CHECK (carried_in + captured - refunded - fees = paid_out + carried_out),
    CONSTRAINT settlements_paid CHECK ((paid_out > 0) = (transaction_id <> ''))
);
CREATE INDEX settlements_newest ON settlements (created_at, id) WHERE created_at IS NOT NULL;
CREATE INDEX settlements_of_merchant ON settlements (merchant, created_at, id) WHERE created_at IS NOT NULL;
