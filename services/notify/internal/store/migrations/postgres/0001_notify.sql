-- Inboxes and alerts. The sequence of an alert is taken from the inbox's row in the same transaction, so it has no gap.
CREATE TABLE inboxes (
    account       TEXT   PRIMARY KEY,
    last_sequence BIGINT NOT NULL CHECK (last_sequence >= 1),
    updated_at    BIGINT NOT NULL
);
CREATE INDEX inboxes_updated ON inboxes (updated_at);

CREATE TABLE alerts (
    id         TEXT    PRIMARY KEY,
    account    TEXT    NOT NULL,
    sequence   BIGINT  NOT NULL CHECK (sequence >= 1),
    type       TEXT    NOT NULL,
    band_text  TEXT    NOT NULL,
    phone_text TEXT    NOT NULL,
    vibration  INTEGER NOT NULL CHECK (vibration BETWEEN 0 AND 3),
    device     TEXT    NOT NULL,
    partner    TEXT    NOT NULL,
    mode       TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    created_at BIGINT  NOT NULL,
    UNIQUE (account, sequence)
);

-- Who wears what, learned from the registry's events; auth_epoch orders them.
CREATE TABLE wearers (
    device     TEXT   PRIMARY KEY,
    partner    TEXT   NOT NULL,
    account    TEXT   NOT NULL,
    mode       TEXT   NOT NULL,
    auth_epoch BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE campaigns (
    id             TEXT   PRIMARY KEY,
    display_name   TEXT   NOT NULL,
    partner        TEXT   NOT NULL,
    mode           TEXT   NOT NULL CHECK (mode IN ('live', 'test')),
    value_minor    BIGINT NOT NULL CHECK (value_minor > 0),
    currency       TEXT   NOT NULL CHECK (length(currency) = 3),
    voucher_limit  BIGINT NOT NULL CHECK (voucher_limit >= 1),
    issued_count   BIGINT NOT NULL DEFAULT 0,
    redeemed_count BIGINT NOT NULL DEFAULT 0,
    expires_at     BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    CONSTRAINT campaigns_issued_within_limit CHECK (issued_count BETWEEN 0 AND voucher_limit),
    CONSTRAINT campaigns_redeemed_within_issued CHECK (redeemed_count BETWEEN 0 AND issued_count)
);

CREATE TABLE vouchers (
    id          TEXT   PRIMARY KEY,
    campaign_id TEXT   NOT NULL REFERENCES campaigns (id),
    account     TEXT   NOT NULL,
    code_hash   BYTEA  NOT NULL UNIQUE,
    state       TEXT   NOT NULL CHECK (state IN ('ISSUED', 'REDEEMED')),
    expires_at  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX vouchers_of_campaign ON vouchers (campaign_id, id);

CREATE TABLE redemptions (
    id           TEXT   PRIMARY KEY,
    voucher_id   TEXT   NOT NULL UNIQUE REFERENCES vouchers (id),
    merchant     TEXT   NOT NULL,
    assertion_id TEXT   UNIQUE,
    created_at   BIGINT NOT NULL
);

CREATE TABLE subscriptions (
    partner    TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    filter     TEXT   NOT NULL,
    consumer   TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (partner, id)
);

-- The first answer to each request, in the transaction of its effect.
CREATE TABLE requests (
    caller      TEXT   NOT NULL,
    method      TEXT   NOT NULL,
    request_id  TEXT   NOT NULL,
    fingerprint BYTEA  NOT NULL,
    response    TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (caller, method, request_id)
);

-- Keys, encrypted with the key in the key file.
CREATE TABLE keys (
    name       TEXT   PRIMARY KEY,
    wrapped    BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
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
