ALTER TABLE keys ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;
UPDATE keys SET changed_at = created_at;
CREATE UNIQUE INDEX keys_active ON keys (purpose, partner) WHERE state = 'ACTIVE';
INSERT INTO sequences (name, value) VALUES ('keys', 0);
