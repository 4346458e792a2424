-- The whole form of alerts. Nothing was released with the tables of 0001, so they are made anew.
DROP TABLE alerts;
DROP TABLE inboxes;

-- An inbox is a row of steps. Whoever adds one locks the inbox's row first, so the sequence has no gap and a rolled-back step leaves none.
CREATE TABLE inboxes (
    account         TEXT    PRIMARY KEY,
    epoch           TEXT    NOT NULL,
    last_sequence   INTEGER NOT NULL CHECK (last_sequence >= 0),
    trimmed_through INTEGER NOT NULL DEFAULT 0,
    updated_at      INTEGER NOT NULL,
    CHECK (trimmed_through BETWEEN 0 AND last_sequence)
);
CREATE INDEX inboxes_updated ON inboxes (updated_at);

CREATE TABLE inbox_steps (
    account    TEXT    NOT NULL,
    sequence   INTEGER NOT NULL CHECK (sequence >= 1),
    kind       TEXT    NOT NULL CHECK (kind IN ('UPSERT', 'REMOVE', 'STATE')),
    alert_id   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, sequence)
);
CREATE INDEX inbox_steps_created ON inbox_steps (created_at);

CREATE TABLE alerts (
    id           TEXT    PRIMARY KEY,
    account      TEXT    NOT NULL,
    mode         TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    kind_partner TEXT    NOT NULL,
    kind_id      TEXT    NOT NULL,
    device       TEXT    NOT NULL,
    partner      TEXT    NOT NULL,
    sender       TEXT    NOT NULL,
    broadcast_id TEXT    NOT NULL,
    collapse_key TEXT    NOT NULL,
    category     TEXT    NOT NULL,
    priority     INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 4),
    delivery     TEXT    NOT NULL,
    engagement   TEXT    NOT NULL,
    sequence     INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    content      TEXT    NOT NULL,
    request      TEXT    NOT NULL,
    decisions    TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    release_at   INTEGER,
    resend_at    INTEGER,
    redacted     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX alerts_inbox ON alerts (account, sequence);
CREATE INDEX alerts_created ON alerts (created_at);
CREATE INDEX alerts_release ON alerts (release_at) WHERE release_at IS NOT NULL;
CREATE INDEX alerts_resend ON alerts (resend_at) WHERE resend_at IS NOT NULL;
CREATE INDEX alerts_expiry ON alerts (expires_at) WHERE expires_at IS NOT NULL AND delivery = 'SENT';
CREATE INDEX alerts_collapse ON alerts (account, collapse_key) WHERE collapse_key <> '';

-- What surfaces said, each thing once.
CREATE TABLE alert_acks (
    alert_id  TEXT    NOT NULL,
    surface   TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    action_id TEXT    NOT NULL,
    client_id TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (alert_id, surface, kind, action_id)
);

-- Types of alerts. Built-in ones have a row only once they were changed.
CREATE TABLE alert_kinds (
    partner    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    draft      TEXT    NOT NULL,
    published  TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (partner, id)
);

CREATE TABLE alert_settings (
    subject    TEXT    PRIMARY KEY,
    content    TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

-- How many alerts of a type a recipient got in a period; a device counts apart, so that nobody learns which devices have one wearer.
CREATE TABLE alert_throttles (
    account      TEXT    NOT NULL,
    device       TEXT    NOT NULL,
    kind_partner TEXT    NOT NULL,
    kind_id      TEXT    NOT NULL,
    window_start INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    PRIMARY KEY (account, device, kind_partner, kind_id)
);

CREATE TABLE topics (
    partner      TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    display_name TEXT    NOT NULL,
    member_count INTEGER NOT NULL CHECK (member_count >= 0),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (partner, id)
);

CREATE TABLE topic_members (
    partner TEXT NOT NULL,
    topic   TEXT NOT NULL,
    member  TEXT NOT NULL,
    PRIMARY KEY (partner, topic, member)
);

-- Alerts to topics. after is the last member that was alerted, moved on in the transaction of its alerts.
CREATE TABLE broadcasts (
    id         TEXT    PRIMARY KEY,
    sender     TEXT    NOT NULL,
    partner    TEXT    NOT NULL,
    topic      TEXT    NOT NULL,
    content    TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('SCHEDULED', 'RUNNING', 'DONE', 'EXPIRED')),
    after      TEXT    NOT NULL,
    members    INTEGER NOT NULL,
    sent       INTEGER NOT NULL,
    held       INTEGER NOT NULL,
    dropped    INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX broadcasts_due ON broadcasts (due_at) WHERE state IN ('SCHEDULED', 'RUNNING');
