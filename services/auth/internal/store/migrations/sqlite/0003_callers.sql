ALTER TABLE partners ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0;

-- SQLite cannot change a check, so the two tables are copied.
CREATE TABLE clients_next (
    id            TEXT PRIMARY KEY,
    role          TEXT NOT NULL CHECK (role IN ('partner', 'operator', 'terminal')),
    partner       TEXT REFERENCES partners (id),
    mode          TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    state         TEXT NOT NULL CHECK (state IN ('ACTIVE', 'SUSPENDED', 'REVOKED')),
    tls           INTEGER NOT NULL,
    operator_role TEXT NOT NULL CHECK (operator_role IN ('', 'admin', 'support', 'auditor')),
    merchant      TEXT NOT NULL,
    terminal      TEXT NOT NULL,
    revision      INTEGER NOT NULL CHECK (revision > 0),
    created_at    INTEGER NOT NULL,
    CHECK ((role = 'partner') = (partner IS NOT NULL)),
    CHECK ((role = 'operator') = (operator_role <> '')),
    CHECK ((role = 'terminal') = (terminal <> ''))
);
CREATE TABLE client_keys (
    client_id  TEXT NOT NULL,
    key_id     TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    added_at   INTEGER NOT NULL,
    PRIMARY KEY (client_id, key_id)
);
INSERT INTO clients_next (id, role, partner, mode, state, tls, operator_role, merchant, terminal, revision, created_at)
    SELECT id, role, partner, mode, 'ACTIVE', 0, CASE role WHEN 'operator' THEN 'admin' ELSE '' END, '', '', 1, created_at FROM clients;
-- The key is named when the client is used next.
INSERT INTO client_keys (client_id, key_id, public_jwk, added_at) SELECT id, '', public_jwk, created_at FROM clients;
DROP TABLE clients;
ALTER TABLE clients_next RENAME TO clients;
CREATE INDEX clients_partner ON clients (partner, id);

CREATE TABLE grants_next (
    partner          TEXT NOT NULL REFERENCES partners (id),
    scope            TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('REQUESTED', 'SANDBOX', 'APPROVED', 'SUSPENDED', 'REVOKED')),
    expires_at       INTEGER,
    revision         INTEGER NOT NULL CHECK (revision > 0),
    calls_per_minute INTEGER NOT NULL DEFAULT 0 CHECK (calls_per_minute >= 0),
    updated_at       INTEGER NOT NULL,
    PRIMARY KEY (partner, scope)
);
INSERT INTO grants_next (partner, scope, state, expires_at, revision, updated_at)
    SELECT partner, scope, state, expires_at, revision, updated_at FROM grants;
DROP TABLE grants;
ALTER TABLE grants_next RENAME TO grants;

INSERT INTO sequences (name, value) VALUES ('revocation', 0);
CREATE TABLE revocations (
    sequence INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    until_at INTEGER NOT NULL
);
CREATE INDEX revocations_until_at ON revocations (until_at);

CREATE TABLE audit_head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL,
    hash     BLOB NOT NULL
);
INSERT INTO audit_head (id, sequence, hash) VALUES (1, 0, x'0000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE audit_entries (
    sequence   INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    hash       BLOB NOT NULL
);
CREATE INDEX audit_entries_subject ON audit_entries (subject, sequence);
