-- The whole life of lots and devices: models' status, held and recalled lots, imports, credentials, transfers, labels, quotas, and
-- an audit record of devices, lots and models with one log over all of it.

ALTER TABLE models ADD COLUMN sensors          TEXT    NOT NULL DEFAULT ''; -- numbers, separated by commas
ALTER TABLE models ADD COLUMN proximity        TEXT    NOT NULL DEFAULT ''; -- likewise
ALTER TABLE models ADD COLUMN status           INTEGER NOT NULL DEFAULT 1 CHECK (status BETWEEN 1 AND 3);
ALTER TABLE models ADD COLUMN status_authority INTEGER NOT NULL DEFAULT 0 CHECK (status_authority BETWEEN 0 AND 4);
-- What the model adds to the auth epoch of each of its devices: a change of one row raises them all.
ALTER TABLE models ADD COLUMN epoch            BIGINT  NOT NULL DEFAULT 0 CHECK (epoch >= 0);
ALTER TABLE models ADD COLUMN audit_seq        BIGINT  NOT NULL DEFAULT 0 CHECK (audit_seq >= 0);
ALTER TABLE models ADD COLUMN audit_hash       BYTEA; -- null until there is an entry

ALTER TABLE lots DROP CONSTRAINT lots_suite_check;
ALTER TABLE lots DROP CONSTRAINT lots_device_count_check;
ALTER TABLE lots ADD COLUMN kind       INTEGER NOT NULL DEFAULT 1 CHECK (kind IN (1, 2)); -- 1 range, 2 listed
ALTER TABLE lots ADD COLUMN state      INTEGER NOT NULL DEFAULT 2 CHECK (state BETWEEN 1 AND 3); -- 1 held, 2 released, 3 recalled
ALTER TABLE lots ADD COLUMN exceptions TEXT    NOT NULL DEFAULT ''; -- first-last, separated by commas
ALTER TABLE lots ADD COLUMN epoch      BIGINT  NOT NULL DEFAULT 0 CHECK (epoch >= 0);
ALTER TABLE lots ADD COLUMN audit_seq  BIGINT  NOT NULL DEFAULT 0 CHECK (audit_seq >= 0);
ALTER TABLE lots ADD COLUMN audit_hash BYTEA;
ALTER TABLE lots ADD CHECK (suite BETWEEN 1 AND 4);
ALTER TABLE lots ADD CHECK (kind = 2 OR suite IN (1, 2));
ALTER TABLE lots ADD CHECK (device_count BETWEEN 0 AND 1000000000);
ALTER TABLE lots ADD CHECK (kind = 2 OR device_count >= 1);

-- Of a device of a lot the states 1 and 2 are one: the lot says which. Models are never deleted and every way to a row reads its model
-- first, so a foreign key to them would only cost each imported row a look-up.
ALTER TABLE devices DROP CONSTRAINT devices_check1;
ALTER TABLE devices DROP CONSTRAINT devices_partner_model_id_fkey;
ALTER TABLE devices ADD COLUMN credentials    TEXT; -- JSON; null while the public key is the only one there ever was
ALTER TABLE devices ADD COLUMN labels         TEXT; -- JSON
ALTER TABLE devices ADD COLUMN transfer_hash  BYTEA CHECK (length(transfer_hash) = 32);
ALTER TABLE devices ADD COLUMN transfer_until BIGINT;
CREATE INDEX devices_of_model ON devices (partner, model_id, uid);
CREATE INDEX devices_of_lot ON devices (partner, lot_no, uid) WHERE lot_no > 0;
CREATE INDEX devices_of_state ON devices (state, uid) WHERE state > 2;

CREATE TABLE device_labels (
	uid   TEXT COLLATE "C" NOT NULL REFERENCES devices (uid),
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (uid, key)
);
CREATE INDEX devices_of_label ON device_labels (key, value, uid);

-- The subject is a device's uid, lots/PARTNER/NUMBER or models/PARTNER/MODEL. Entries get their place in the log after they were
-- committed, since transactions do not commit in the order in which they write.
ALTER TABLE audit_entries RENAME COLUMN uid TO subject;
ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_uid_fkey;
ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_state_check;
ALTER TABLE audit_entries ADD CHECK (state BETWEEN 0 AND 5);
ALTER TABLE audit_entries ADD COLUMN content_hash BYTEA CHECK (length(content_hash) = 32);
ALTER TABLE audit_entries ADD COLUMN position     BIGINT;
ALTER TABLE audit_entries ADD COLUMN log_hash     BYTEA CHECK (length(log_hash) = 32);
CREATE UNIQUE INDEX audit_entries_log ON audit_entries (position) WHERE position IS NOT NULL;
CREATE INDEX audit_entries_pending ON audit_entries (subject, seq) WHERE position IS NULL;

-- The end of the log.
CREATE TABLE audit_head (
	id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	position BIGINT  NOT NULL CHECK (position >= 0),
	hash     BYTEA   NOT NULL CHECK (length(hash) = 32)
);
INSERT INTO audit_head VALUES (1, 0, decode(repeat('00', 32), 'hex'));

CREATE TABLE imports (
	partner    TEXT    NOT NULL,
	import_id  TEXT    NOT NULL,
	lot_no     BIGINT  NOT NULL,
	expected   BIGINT  NOT NULL CHECK (expected >= 1),
	digest     BYTEA   NOT NULL CHECK (length(digest) = 32),
	mode       INTEGER NOT NULL CHECK (mode IN (1, 2)),
	state      INTEGER NOT NULL CHECK (state IN (1, 2)), -- 1 open, 2 complete
	last_seq   BIGINT  NOT NULL CHECK (last_seq >= 0),
	row_count  BIGINT  NOT NULL CHECK (row_count >= 0 AND row_count <= expected),
	created    BIGINT  NOT NULL,
	unchanged  BIGINT  NOT NULL,
	failed     BIGINT  NOT NULL,
	hasher     BYTEA   NOT NULL, -- SHA-256 in the middle of the rows
	created_at BIGINT  NOT NULL,
	updated_at BIGINT  NOT NULL,
	CHECK (created + unchanged + failed = row_count),
	PRIMARY KEY (partner, import_id)
);

-- The answers to chunks, so that one that is sent again is answered as it was.
CREATE TABLE import_chunks (
	partner   TEXT    NOT NULL,
	import_id TEXT    NOT NULL,
	seq       BIGINT  NOT NULL,
	digest    BYTEA   NOT NULL CHECK (length(digest) = 32),
	created   INTEGER NOT NULL,
	unchanged INTEGER NOT NULL,
	failures  TEXT    NOT NULL, -- JSON
	PRIMARY KEY (partner, import_id, seq),
	FOREIGN KEY (partner, import_id) REFERENCES imports (partner, import_id)
);

-- What counts against a partner's quota.
CREATE TABLE partner_usage (
	partner TEXT   NOT NULL PRIMARY KEY,
	models  BIGINT NOT NULL CHECK (models >= 0),
	lots    BIGINT NOT NULL CHECK (lots >= 0),
	devices BIGINT NOT NULL CHECK (devices >= 0)
);
INSERT INTO partner_usage
	SELECT p.partner,
		(SELECT count(*) FROM models m WHERE m.partner = p.partner),
		(SELECT count(*) FROM lots l WHERE l.partner = p.partner),
		(SELECT count(*) FROM devices d WHERE d.partner = p.partner AND d.lot_no = 0) +
			(SELECT coalesce(sum(l.device_count), 0) FROM lots l WHERE l.partner = p.partner)
	FROM (SELECT DISTINCT partner FROM models) p;
