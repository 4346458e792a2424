CREATE TABLE sequences (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO sequences (name, value) VALUES ('partner_no', 0);

CREATE TABLE partners (
    id           TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    partner_no   BIGINT NOT NULL UNIQUE CHECK (partner_no BETWEEN 1 AND 4294967295),
    key_epoch    BIGINT NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE clients (
    id         TEXT PRIMARY KEY,
    role       TEXT NOT NULL CHECK (role IN ('partner', 'operator')),
    partner    TEXT REFERENCES partners (id),
    public_jwk TEXT NOT NULL,
    mode       TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    created_at BIGINT NOT NULL,
    CHECK ((role = 'partner') = (partner IS NOT NULL))
);

CREATE TABLE client_assertions (
    client_id  TEXT NOT NULL,
    jti        TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (client_id, jti)
);
CREATE INDEX client_assertions_expires_at ON client_assertions (expires_at);

CREATE TABLE grants (
    partner    TEXT NOT NULL REFERENCES partners (id),
    scope      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('APPROVED', 'REVOKED')),
    expires_at BIGINT,
    revision   BIGINT NOT NULL CHECK (revision > 0),
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (partner, scope)
);

CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    purpose    TEXT NOT NULL,
    partner    TEXT NOT NULL,
    epoch      BIGINT NOT NULL CHECK (epoch BETWEEN 1 AND 65535),
    state      TEXT NOT NULL,
    public_key BYTEA,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (purpose, partner, epoch)
);

CREATE TABLE decisions (
    nonce          TEXT PRIMARY KEY,
    owner          TEXT NOT NULL,
    device         TEXT NOT NULL,
    uid            TEXT NOT NULL,
    partner        TEXT NOT NULL,
    account        TEXT NOT NULL,
    purpose        BIGINT NOT NULL,
    response_hash  BYTEA NOT NULL,
    reason         TEXT NOT NULL,
    jti            TEXT NOT NULL UNIQUE,
    assurance      BIGINT NOT NULL CHECK (assurance BETWEEN 0 AND 3),
    counter        BIGINT NOT NULL,
    intent         BYTEA NOT NULL,
    amount         BIGINT NOT NULL CHECK (amount >= 0),
    currency       TEXT NOT NULL,
    merchant       BYTEA NOT NULL,
    approved_frame BYTEA NOT NULL,
    declined_frame BYTEA NOT NULL,
    expires_at     BIGINT NOT NULL,
    decided_at     BIGINT NOT NULL
);

CREATE TABLE counters (
    uid         TEXT PRIMARY KEY,
    high_water  BIGINT NOT NULL,
    moved_by    BIGINT NOT NULL,
    clone_nonce TEXT NOT NULL DEFAULT '',
    device      TEXT NOT NULL DEFAULT ''
);
CREATE INDEX counters_clone ON counters (uid) WHERE clone_nonce <> '';

CREATE TABLE claims (
    id            TEXT PRIMARY KEY,
    account       TEXT NOT NULL,
    uid           TEXT NOT NULL,
    device        TEXT NOT NULL,
    partner       TEXT NOT NULL,
    public_key    BYTEA NOT NULL,
    body          BYTEA NOT NULL,
    frame         BYTEA NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('PENDING', 'PROVEN', 'BOUND', 'REFUSED')),
    tries         BIGINT NOT NULL,
    response_hash BYTEA,
    counter       BIGINT NOT NULL,
    reason        TEXT NOT NULL,
    result_frame  BYTEA,
    begun_at      BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);

CREATE TABLE requests (
    caller      TEXT NOT NULL,
    method      TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    response    BYTEA NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (caller, method, request_id)
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
