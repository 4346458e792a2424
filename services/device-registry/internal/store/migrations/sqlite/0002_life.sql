-- The whole life of lots and devices: models' status, held and recalled lots, imports, credentials, transfers, labels, quotas, and
-- an audit record of devices, lots and models with one log over all of it.

ALTER TABLE models ADD COLUMN sensors          TEXT    NOT NULL DEFAULT ''; -- numbers, separated by commas
ALTER TABLE models ADD COLUMN proximity        TEXT    NOT NULL DEFAULT ''; -- likewise
ALTER TABLE models ADD COLUMN status           INTEGER NOT NULL DEFAULT 1 CHECK (status BETWEEN 1 AND 3);
ALTER TABLE models ADD COLUMN status_authority INTEGER NOT NULL DEFAULT 0 CHECK (status_authority BETWEEN 0 AND 4);
-- What the model adds to the auth epoch of each of its devices: a change of one row raises them all.
ALTER TABLE models ADD COLUMN epoch            INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0);
ALTER TABLE models ADD COLUMN audit_seq        INTEGER NOT NULL DEFAULT 0 CHECK (audit_seq >= 0);
ALTER TABLE models ADD COLUMN audit_hash       BLOB; -- null until there is an entry

-- SQLite cannot change the rules of a table, so those whose rules change are made anew.
CREATE TABLE lots_new (
	partner_no   INTEGER NOT NULL CHECK (partner_no BETWEEN 1 AND 4294967295),
	lot_no       INTEGER NOT NULL CHECK (lot_no BETWEEN 1 AND 4294967295),
	partner      TEXT    NOT NULL,
	model_id     TEXT    NOT NULL,
	suite        INTEGER NOT NULL CHECK (suite BETWEEN 1 AND 4),
	key_epoch    INTEGER NOT NULL CHECK (key_epoch BETWEEN 1 AND 65535),
	first_uid    TEXT    NOT NULL CHECK (length(first_uid) = 26),
	device_count INTEGER NOT NULL CHECK (device_count BETWEEN 0 AND 1000000000),
	created_at   INTEGER NOT NULL,
	kind         INTEGER NOT NULL DEFAULT 1 CHECK (kind IN (1, 2)), -- 1 range, 2 listed
	state        INTEGER NOT NULL DEFAULT 2 CHECK (state BETWEEN 1 AND 3), -- 1 held, 2 released, 3 recalled
	exceptions   TEXT    NOT NULL DEFAULT '', -- first-last, separated by commas
	epoch        INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0),
	audit_seq    INTEGER NOT NULL DEFAULT 0 CHECK (audit_seq >= 0),
	audit_hash   BLOB,
	PRIMARY KEY (partner_no, lot_no),
	UNIQUE (partner, lot_no),
	CHECK (kind = 2 OR suite IN (1, 2)),
	CHECK (kind = 2 OR device_count >= 1),
	FOREIGN KEY (partner, model_id) REFERENCES models (partner, model_id)
) STRICT;
INSERT INTO lots_new (partner_no, lot_no, partner, model_id, suite, key_epoch, first_uid, device_count, created_at)
	SELECT partner_no, lot_no, partner, model_id, suite, key_epoch, first_uid, device_count, created_at FROM lots;
DROP TABLE lots;
ALTER TABLE lots_new RENAME TO lots;

-- Of a device of a lot the states 1 and 2 are one: the lot says which. Models are never deleted and every way to a row reads its model
-- first, so a foreign key to them would only cost each imported row a look-up.
-- The tables that refer to devices make way first.
CREATE TABLE audit_new (
	subject      TEXT    NOT NULL,
	seq          INTEGER NOT NULL CHECK (seq >= 1),
	actor        TEXT    NOT NULL,
	action       TEXT    NOT NULL,
	state        INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
	auth_epoch   INTEGER NOT NULL,
	note         TEXT    NOT NULL,
	created_at   INTEGER NOT NULL,
	hash         BLOB    NOT NULL CHECK (length(hash) = 32),
	content_hash BLOB    CHECK (length(content_hash) = 32),
	position     INTEGER,
	log_hash     BLOB    CHECK (length(log_hash) = 32),
	PRIMARY KEY (subject, seq)
) STRICT;
INSERT INTO audit_new (subject, seq, actor, action, state, auth_epoch, note, created_at, hash)
	SELECT uid, seq, actor, action, state, auth_epoch, note, created_at, hash FROM audit_entries;
DROP TABLE audit_entries;
ALTER TABLE audit_new RENAME TO audit_entries;
CREATE TABLE suspensions_old (uid TEXT, reason INTEGER, authority INTEGER, created_at INTEGER) STRICT;
INSERT INTO suspensions_old SELECT uid, reason, authority, created_at FROM suspensions;
DROP TABLE suspensions;

CREATE TABLE devices_new (
	uid            TEXT    NOT NULL PRIMARY KEY CHECK (length(uid) = 26),
	partner        TEXT    NOT NULL,
	model_id       TEXT    NOT NULL,
	lot_no         INTEGER NOT NULL CHECK (lot_no BETWEEN 0 AND 4294967295), -- 0: registered by itself
	state          INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
	suite          INTEGER NOT NULL CHECK (suite BETWEEN 1 AND 4),
	key_epoch      INTEGER NOT NULL CHECK (key_epoch BETWEEN 1 AND 65535),
	public_key     BLOB,
	auth_epoch     INTEGER NOT NULL CHECK (auth_epoch >= 1),
	generation     INTEGER NOT NULL CHECK (generation >= 0),
	audit_seq      INTEGER NOT NULL CHECK (audit_seq >= 0),
	audit_hash     BLOB    NOT NULL CHECK (length(audit_hash) = 32),
	created_at     INTEGER NOT NULL,
	credentials    TEXT, -- JSON; null while the public key is the only one there ever was
	labels         TEXT, -- JSON
	transfer_hash  BLOB    CHECK (length(transfer_hash) = 32),
	transfer_until INTEGER,
	CHECK ((suite IN (3, 4)) = (public_key IS NOT NULL))
) STRICT;
INSERT INTO devices_new (uid, partner, model_id, lot_no, state, suite, key_epoch, public_key, auth_epoch, generation, audit_seq,
		audit_hash, created_at)
	SELECT uid, partner, model_id, lot_no, state, suite, key_epoch, public_key, auth_epoch, generation, audit_seq,
		audit_hash, created_at FROM devices;
DROP TABLE devices;
ALTER TABLE devices_new RENAME TO devices;
CREATE TABLE suspensions (
	uid        TEXT    NOT NULL REFERENCES devices (uid),
	reason     INTEGER NOT NULL CHECK (reason BETWEEN 1 AND 4),
	authority  INTEGER NOT NULL CHECK (authority BETWEEN 1 AND 4),
	created_at INTEGER NOT NULL,
	PRIMARY KEY (uid, reason)
) STRICT;
INSERT INTO suspensions SELECT uid, reason, authority, created_at FROM suspensions_old;
DROP TABLE suspensions_old;
CREATE INDEX devices_of_partner ON devices (partner, uid);
CREATE INDEX devices_of_model ON devices (partner, model_id, uid);
CREATE INDEX devices_of_lot ON devices (partner, lot_no, uid) WHERE lot_no > 0;
CREATE INDEX devices_of_state ON devices (state, uid) WHERE state > 2;

CREATE TABLE device_labels (
	uid   TEXT NOT NULL REFERENCES devices (uid),
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (uid, key)
) STRICT;
CREATE INDEX devices_of_label ON device_labels (key, value, uid);

-- The subject is a device's uid, lots/PARTNER/NUMBER or models/PARTNER/MODEL. Entries get their place in the log after they were
-- committed, since transactions do not commit in the order in which they write.
CREATE UNIQUE INDEX audit_entries_log ON audit_entries (position) WHERE position IS NOT NULL;
CREATE INDEX audit_entries_pending ON audit_entries (subject, seq) WHERE position IS NULL;

-- The end of the log.
CREATE TABLE audit_head (
	id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	position INTEGER NOT NULL CHECK (position >= 0),
	hash     BLOB   NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_head VALUES (1, 0, zeroblob(32));

CREATE TABLE imports (
	partner    TEXT    NOT NULL,
	import_id  TEXT    NOT NULL,
	lot_no     INTEGER NOT NULL,
	expected   INTEGER NOT NULL CHECK (expected >= 1),
	digest     BLOB   NOT NULL CHECK (length(digest) = 32),
	mode       INTEGER NOT NULL CHECK (mode IN (1, 2)),
	state      INTEGER NOT NULL CHECK (state IN (1, 2)), -- 1 open, 2 complete
	last_seq   INTEGER NOT NULL CHECK (last_seq >= 0),
	row_count  INTEGER NOT NULL CHECK (row_count >= 0 AND row_count <= expected),
	created    INTEGER NOT NULL,
	unchanged  INTEGER NOT NULL,
	failed     INTEGER NOT NULL,
	hasher     BLOB   NOT NULL, -- SHA-256 in the middle of the rows
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	CHECK (created + unchanged + failed = row_count),
	PRIMARY KEY (partner, import_id)
) STRICT;

-- The answers to chunks, so that one that is sent again is answered as it was.
CREATE TABLE import_chunks (
	partner   TEXT    NOT NULL,
	import_id TEXT    NOT NULL,
	seq       INTEGER NOT NULL,
	digest    BLOB   NOT NULL CHECK (length(digest) = 32),
	created   INTEGER NOT NULL,
	unchanged INTEGER NOT NULL,
	failures  TEXT    NOT NULL, -- JSON
	PRIMARY KEY (partner, import_id, seq),
	FOREIGN KEY (partner, import_id) REFERENCES imports (partner, import_id)
) STRICT;

-- What counts against a partner's quota.
CREATE TABLE partner_usage (
	partner TEXT   NOT NULL PRIMARY KEY,
	models  INTEGER NOT NULL CHECK (models >= 0),
	lots    INTEGER NOT NULL CHECK (lots >= 0),
	devices INTEGER NOT NULL CHECK (devices >= 0)
) STRICT;
INSERT INTO partner_usage
	SELECT p.partner,
		(SELECT count(*) FROM models m WHERE m.partner = p.partner),
		(SELECT count(*) FROM lots l WHERE l.partner = p.partner),
		(SELECT count(*) FROM devices d WHERE d.partner = p.partner AND d.lot_no = 0) +
			(SELECT coalesce(sum(l.device_count), 0) FROM lots l WHERE l.partner = p.partner)
	FROM (SELECT DISTINCT partner FROM models) p;
