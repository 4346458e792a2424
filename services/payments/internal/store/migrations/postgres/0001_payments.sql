-- Ledger. A posting is one row with both sides, so that every transaction sums to zero in each currency whatever wrote
-- it; the composite keys force both accounts into the posting's currency.
CREATE TABLE ledger_accounts (
    id             TEXT    NOT NULL PRIMARY KEY,
    kind           TEXT    NOT NULL CHECK (kind IN ('wallet', 'merchant', 'funding')),
    currency       TEXT    NOT NULL CHECK (length(currency) = 3),
    min_balance    BIGINT,
    posted_debits  BIGINT  NOT NULL DEFAULT 0 CHECK (posted_debits >= 0),
    posted_credits BIGINT  NOT NULL DEFAULT 0 CHECK (posted_credits >= 0),
    created_at     BIGINT  NOT NULL,
    CONSTRAINT ledger_accounts_currency UNIQUE (id, currency),
    -- Where there is no minimum the comparison is unknown, which passes.
    CONSTRAINT ledger_accounts_minimum CHECK (posted_credits - posted_debits >= min_balance),
    CONSTRAINT ledger_accounts_unlimited CHECK (min_balance IS NOT NULL OR kind = 'funding')
);

CREATE TABLE ledger_transactions (
    id        TEXT   NOT NULL PRIMARY KEY,
    purpose   TEXT   NOT NULL,
    reference TEXT   NOT NULL,
    posted_at BIGINT NOT NULL,
    CONSTRAINT ledger_transactions_once UNIQUE (purpose, reference)
);

CREATE TABLE ledger_postings (
    transaction_id TEXT    NOT NULL REFERENCES ledger_transactions (id),
    line           INTEGER NOT NULL,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    amount         BIGINT  NOT NULL CHECK (amount > 0),
    currency       TEXT    NOT NULL,
    PRIMARY KEY (transaction_id, line),
    CONSTRAINT ledger_postings_two_accounts CHECK (debit_account <> credit_account),
    FOREIGN KEY (debit_account, currency) REFERENCES ledger_accounts (id, currency),
    FOREIGN KEY (credit_account, currency) REFERENCES ledger_accounts (id, currency)
);

CREATE TABLE accounts (
    id         TEXT   NOT NULL PRIMARY KEY,
    ledger_id  TEXT   NOT NULL UNIQUE REFERENCES ledger_accounts (id),
    created_at BIGINT NOT NULL
);

CREATE TABLE merchants (
    id            TEXT    NOT NULL PRIMARY KEY,
    ledger_id     TEXT    NOT NULL UNIQUE REFERENCES ledger_accounts (id),
    display_name  TEXT    NOT NULL,
    category_code INTEGER NOT NULL CHECK (category_code BETWEEN 1 AND 9999),
    currency      TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL
);

CREATE TABLE terminals (
    id           TEXT   NOT NULL PRIMARY KEY,
    merchant     TEXT   NOT NULL REFERENCES merchants (id),
    display_name TEXT   NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE payments (
    id              TEXT   NOT NULL PRIMARY KEY,
    state           TEXT   NOT NULL CHECK (state IN ('AWAITING_TAP', 'CAPTURED', 'DECLINED', 'EXPIRED')),
    amount          BIGINT NOT NULL CHECK (amount > 0),
    currency        TEXT   NOT NULL,
    merchant        TEXT   NOT NULL REFERENCES merchants (id),
    merchant_name   TEXT   NOT NULL,
    terminal        TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    partner         TEXT   NOT NULL,
    account         TEXT   NOT NULL REFERENCES accounts (id),
    mode            TEXT   NOT NULL CHECK (mode IN ('live', 'test')),
    creator         TEXT   NOT NULL,
    challenge       TEXT   NOT NULL,
    challenge_frame BYTEA  NOT NULL,
    tap_expires_at  BIGINT NOT NULL,
    requirements    TEXT   NOT NULL,
    pong_key        BYTEA,
    decline_reason  TEXT   NOT NULL DEFAULT '',
    transaction_id  TEXT   REFERENCES ledger_transactions (id),
    response_digest BYTEA,
    result_frame    BYTEA,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    -- The money has moved if and only if the payment says so.
    CONSTRAINT payments_captured CHECK ((state = 'CAPTURED') = (transaction_id IS NOT NULL)),
    CONSTRAINT payments_declined CHECK ((state = 'DECLINED') = (decline_reason <> ''))
);
CREATE INDEX payments_newest ON payments (created_at, id);
CREATE INDEX payments_of_merchant ON payments (merchant, created_at, id);
CREATE INDEX payments_of_account ON payments (account, created_at, id);
CREATE INDEX payments_of_partner ON payments (partner, mode, created_at, id);
CREATE INDEX payments_awaiting ON payments (tap_expires_at) WHERE state = 'AWAITING_TAP';

-- The approvals that moved money or were refused by the ledger. Each is used once, ever.
CREATE TABLE assertions (
    jti     TEXT   NOT NULL PRIMARY KEY,
    payment TEXT   NOT NULL REFERENCES payments (id),
    used_at BIGINT NOT NULL
);

-- What makes a call safe to repeat: the first answer, or for a payment its id.
CREATE TABLE requests (
    caller      TEXT   NOT NULL,
    method      TEXT   NOT NULL,
    request_id  TEXT   NOT NULL,
    fingerprint BYTEA  NOT NULL,
    response    BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (caller, method, request_id)
);

-- Keys that the service made for itself and that all its processes share.
CREATE TABLE service_keys (
    name  TEXT  NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE outbox (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
    id           TEXT   PRIMARY KEY,
    subject      TEXT   NOT NULL,
    type         TEXT   NOT NULL,
    headers      TEXT   NOT NULL,
    data         BYTEA  NOT NULL,
    created_at   BIGINT NOT NULL,
    published_at BIGINT
);
CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE inbox (
    consumer    TEXT   NOT NULL,
    event_id    TEXT   NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_received ON inbox (consumer, received_at);
