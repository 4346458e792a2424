CREATE TABLE sequences (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
INSERT INTO sequences (name, value) VALUES ('partner_no', 0);

CREATE TABLE partners (
    id           TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    partner_no   INTEGER NOT NULL UNIQUE CHECK (partner_no BETWEEN 1 AND 4294967295),
    key_epoch    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
);

CREATE TABLE clients (
    id         TEXT PRIMARY KEY,
    role       TEXT NOT NULL CHECK (role IN ('partner', 'operator')),
    partner    TEXT REFERENCES partners (id),
    public_jwk TEXT NOT NULL,
    mode       TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    created_at INTEGER NOT NULL,
    CHECK ((role = 'partner') = (partner IS NOT NULL))
);

CREATE TABLE client_assertions (
    client_id  TEXT NOT NULL,
    jti        TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (client_id, jti)
);
CREATE INDEX client_assertions_expires_at ON client_assertions (expires_at);

CREATE TABLE grants (
    partner    TEXT NOT NULL REFERENCES partners (id),
    scope      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('APPROVED', 'REVOKED')),
    expires_at INTEGER,
    revision   INTEGER NOT NULL CHECK (revision > 0),
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (partner, scope)
);

CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    purpose    TEXT NOT NULL,
    partner    TEXT NOT NULL,
    epoch      INTEGER NOT NULL CHECK (epoch BETWEEN 1 AND 65535),
    state      TEXT NOT NULL,
    public_key BLOB,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (purpose, partner, epoch)
);

CREATE TABLE decisions (
    nonce          TEXT PRIMARY KEY,
    owner          TEXT NOT NULL,
    device         TEXT NOT NULL,
    uid            TEXT NOT NULL,
    partner        TEXT NOT NULL,
    account        TEXT NOT NULL,
    purpose        INTEGER NOT NULL,
    response_hash  BLOB NOT NULL,
    reason         TEXT NOT NULL,
    jti            TEXT NOT NULL UNIQUE,
    assurance      INTEGER NOT NULL CHECK (assurance BETWEEN 0 AND 3),
    counter        INTEGER NOT NULL,
    intent         BLOB NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount >= 0),
    currency       TEXT NOT NULL,
    merchant       BLOB NOT NULL,
    approved_frame BLOB NOT NULL,
    declined_frame BLOB NOT NULL,
    expires_at     INTEGER NOT NULL,
    decided_at     INTEGER NOT NULL
);

CREATE TABLE counters (
    uid         TEXT PRIMARY KEY,
    high_water  INTEGER NOT NULL,
    moved_by    INTEGER NOT NULL,
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
    public_key    BLOB NOT NULL,
    body          BLOB NOT NULL,
    frame         BLOB NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('PENDING', 'PROVEN', 'BOUND', 'REFUSED')),
    tries         INTEGER NOT NULL,
    response_hash BLOB,
    counter       INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    result_frame  BLOB,
    begun_at      INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
);

CREATE TABLE requests (
    caller      TEXT NOT NULL,
    method      TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    response    BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (caller, method, request_id)
);

CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    subject      TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    headers      TEXT    NOT NULL,
    data         BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    published_at INTEGER
);
CREATE INDEX outbox_pending ON outbox (published_at) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE inbox (
    consumer    TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_received ON inbox (consumer, received_at);
