ALTER TABLE deny_list ADD COLUMN allowed INTEGER NOT NULL DEFAULT 0;

CREATE TABLE offline_denials (
    grant_id  BIGINT NOT NULL REFERENCES offline_grants (id),
    denied_at BIGINT NOT NULL,
    lifted_at BIGINT NOT NULL,
    PRIMARY KEY (grant_id, denied_at)
);
