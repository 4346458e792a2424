-- Subscriptions with sinks. Filters and keys are JSON; times are in microseconds, 0 for none.
ALTER TABLE subscriptions ADD COLUMN filters TEXT NOT NULL DEFAULT '';
ALTER TABLE subscriptions ADD COLUMN sink TEXT NOT NULL DEFAULT 'nats' CHECK (sink IN ('nats', 'webhook', 'grpc'));
ALTER TABLE subscriptions ADD COLUMN thin INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled'));
ALTER TABLE subscriptions ADD COLUMN start_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN url TEXT NOT NULL DEFAULT '';
ALTER TABLE subscriptions ADD COLUMN signature TEXT NOT NULL DEFAULT '';
ALTER TABLE subscriptions ADD COLUMN signing_keys TEXT NOT NULL DEFAULT '[]';
ALTER TABLE subscriptions ADD COLUMN failing_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN disable_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE subscriptions ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
UPDATE subscriptions SET filters = '["' || filter || '"]', updated_at = created_at;

-- Events that a webhook did not take at once. A row without next_at is a dead letter.
CREATE TABLE deliveries (
    partner      TEXT    NOT NULL,
    subscription TEXT    NOT NULL,
    event_id     TEXT    NOT NULL,
    event_type   TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    resource     TEXT    NOT NULL,
    event_time   INTEGER NOT NULL,
    data         BLOB    NOT NULL,
    traceparent  TEXT    NOT NULL,
    attempts     INTEGER NOT NULL CHECK (attempts >= 0),
    last_error   TEXT    NOT NULL,
    next_at      INTEGER,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (partner, subscription, event_id),
    FOREIGN KEY (partner, subscription) REFERENCES subscriptions (partner, id)
);
CREATE INDEX deliveries_due ON deliveries (partner, subscription, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (partner, subscription, event_id) WHERE next_at IS NULL;
