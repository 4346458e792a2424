INSERT INTO sequences (name, value) VALUES ('offline_grant', 0), ('deny_list', 0);

ALTER TABLE counters ADD COLUMN auth_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN risk INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN risk INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN binding_id BLOB;

CREATE TABLE lockouts (
    uid          TEXT    NOT NULL,
    account      TEXT    NOT NULL,
    bad          INTEGER NOT NULL,
    since        INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    level        INTEGER NOT NULL,
    PRIMARY KEY (uid, account)
);

CREATE TABLE offline_grants (
    id               INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    uid              TEXT    NOT NULL,
    device           TEXT    NOT NULL,
    partner          TEXT    NOT NULL,
    account          TEXT    NOT NULL,
    suite            INTEGER NOT NULL,
    key_epoch        INTEGER NOT NULL,
    public_key       BLOB    NOT NULL,
    binding_id       BLOB    NOT NULL,
    bind_nonce       BLOB    NOT NULL,
    alias            TEXT    NOT NULL UNIQUE,
    max_tap          INTEGER NOT NULL,
    cumulative_limit INTEGER NOT NULL,
    max_taps         INTEGER NOT NULL,
    currency         TEXT    NOT NULL,
    exponent         INTEGER NOT NULL,
    mcc_group        INTEGER NOT NULL,
    issued_at        INTEGER NOT NULL,
    valid_until      INTEGER NOT NULL,
    denied_at        INTEGER
);
CREATE INDEX offline_grants_device ON offline_grants (uid, valid_until);

CREATE TABLE offline_taps (
    digest      TEXT PRIMARY KEY,
    grant_id    INTEGER NOT NULL REFERENCES offline_grants (id),
    uid         TEXT    NOT NULL,
    counter     INTEGER NOT NULL,
    cumulative  INTEGER NOT NULL,
    fare_cap    INTEGER NOT NULL,
    mcc         INTEGER NOT NULL,
    terminal    TEXT    NOT NULL,
    taken_at    INTEGER NOT NULL,
    verified_at INTEGER NOT NULL,
    reason      TEXT    NOT NULL
);
CREATE INDEX offline_taps_counter ON offline_taps (uid, counter);
CREATE INDEX offline_taps_grant ON offline_taps (grant_id, counter);

CREATE TABLE deny_list (
    number     INTEGER PRIMARY KEY,
    alias      TEXT   NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
