INSERT INTO sequences (name, value) VALUES ('offline_grant', 0), ('deny_list', 0);

ALTER TABLE counters ADD COLUMN auth_epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN risk INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN risk INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN binding_id BYTEA;

CREATE TABLE lockouts (
    uid          TEXT    NOT NULL,
    account      TEXT    NOT NULL,
    bad          INTEGER NOT NULL,
    since        BIGINT  NOT NULL,
    locked_until BIGINT  NOT NULL,
    level        INTEGER NOT NULL,
    PRIMARY KEY (uid, account)
);

CREATE TABLE offline_grants (
    id               BIGINT PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    uid              TEXT    NOT NULL,
    device           TEXT    NOT NULL,
    partner          TEXT    NOT NULL,
    account          TEXT    NOT NULL,
    suite            INTEGER NOT NULL,
    key_epoch        INTEGER NOT NULL,
    public_key       BYTEA    NOT NULL,
    binding_id       BYTEA    NOT NULL,
    bind_nonce       BYTEA    NOT NULL,
    alias            TEXT    NOT NULL UNIQUE,
    max_tap          BIGINT  NOT NULL,
    cumulative_limit BIGINT  NOT NULL,
    max_taps         INTEGER NOT NULL,
    currency         TEXT    NOT NULL,
    exponent         INTEGER NOT NULL,
    mcc_group        INTEGER NOT NULL,
    issued_at        BIGINT  NOT NULL,
    valid_until      BIGINT  NOT NULL,
    denied_at        BIGINT
);
CREATE INDEX offline_grants_device ON offline_grants (uid, valid_until);

CREATE TABLE offline_taps (
    digest      TEXT PRIMARY KEY,
    grant_id    BIGINT  NOT NULL REFERENCES offline_grants (id),
    uid         TEXT    NOT NULL,
    counter     BIGINT  NOT NULL,
    cumulative  BIGINT  NOT NULL,
    fare_cap    BIGINT  NOT NULL,
    mcc         INTEGER NOT NULL,
    terminal    TEXT    NOT NULL,
    taken_at    BIGINT  NOT NULL,
    verified_at BIGINT  NOT NULL,
    reason      TEXT    NOT NULL
);
CREATE INDEX offline_taps_counter ON offline_taps (uid, counter);
CREATE INDEX offline_taps_grant ON offline_taps (grant_id, counter);

CREATE TABLE deny_list (
    number     BIGINT PRIMARY KEY,
    alias      TEXT   NOT NULL UNIQUE,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
