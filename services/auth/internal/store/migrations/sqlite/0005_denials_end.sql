ALTER TABLE deny_list ADD COLUMN allowed INTEGER NOT NULL DEFAULT 0;

CREATE TABLE offline_denials (
    grant_id  INTEGER NOT NULL REFERENCES offline_grants (id),
    denied_at INTEGER NOT NULL,
    lifted_at INTEGER NOT NULL,
    PRIMARY KEY (grant_id, denied_at)
);
