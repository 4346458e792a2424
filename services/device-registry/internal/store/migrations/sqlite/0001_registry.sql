-- The registry's tables. Times are unix microseconds; a uid is its 26 characters, whose order is that of the 16 bytes.

CREATE TABLE models (
	partner             TEXT    NOT NULL,
	model_id            TEXT    NOT NULL,
	display_name        TEXT    NOT NULL,
	suites              TEXT    NOT NULL, -- numbers, separated by commas
	has_display         INTEGER NOT NULL CHECK (has_display IN (0, 1)),
	has_wrist_detection INTEGER NOT NULL CHECK (has_wrist_detection IN (0, 1)),
	min_svn             INTEGER NOT NULL CHECK (min_svn BETWEEN 0 AND 65535),
	created_at          INTEGER NOT NULL,
	PRIMARY KEY (partner, model_id)
) STRICT;

-- A range lot is one row for all of its devices: those from first_uid on, device_count in number.
CREATE TABLE lots (
	partner_no   INTEGER NOT NULL CHECK (partner_no BETWEEN 1 AND 4294967295),
	lot_no       INTEGER NOT NULL CHECK (lot_no BETWEEN 1 AND 4294967295),
	partner      TEXT    NOT NULL,
	model_id     TEXT    NOT NULL,
	suite        INTEGER NOT NULL CHECK (suite IN (1, 2)),
	key_epoch    INTEGER NOT NULL CHECK (key_epoch BETWEEN 1 AND 65535),
	first_uid    TEXT    NOT NULL CHECK (length(first_uid) = 26),
	device_count INTEGER NOT NULL CHECK (device_count BETWEEN 1 AND 1000000000),
	created_at   INTEGER NOT NULL,
	PRIMARY KEY (partner_no, lot_no),
	UNIQUE (partner, lot_no),
	FOREIGN KEY (partner, model_id) REFERENCES models (partner, model_id)
) STRICT;

-- A device of a range lot gets its row when something first happens to it.
CREATE TABLE devices (
	uid        TEXT    NOT NULL PRIMARY KEY CHECK (length(uid) = 26),
	partner    TEXT    NOT NULL,
	model_id   TEXT    NOT NULL,
	lot_no     INTEGER NOT NULL CHECK (lot_no BETWEEN 0 AND 4294967295), -- 0: registered by itself
	state      INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
	suite      INTEGER NOT NULL CHECK (suite BETWEEN 1 AND 4),
	key_epoch  INTEGER NOT NULL CHECK (key_epoch BETWEEN 1 AND 65535),
	public_key BLOB,
	auth_epoch INTEGER NOT NULL CHECK (auth_epoch >= 1),
	generation INTEGER NOT NULL CHECK (generation >= 0),
	audit_seq  INTEGER NOT NULL CHECK (audit_seq >= 0),
	audit_hash BLOB    NOT NULL CHECK (length(audit_hash) = 32),
	created_at INTEGER NOT NULL,
	CHECK ((suite IN (3, 4)) = (public_key IS NOT NULL)),
	CHECK (lot_no = 0 OR suite IN (1, 2)),
	FOREIGN KEY (partner, model_id) REFERENCES models (partner, model_id)
) STRICT;
CREATE INDEX devices_of_partner ON devices (partner, uid);

CREATE TABLE suspensions (
	uid        TEXT    NOT NULL REFERENCES devices (uid),
	reason     INTEGER NOT NULL CHECK (reason BETWEEN 1 AND 4),
	authority  INTEGER NOT NULL CHECK (authority BETWEEN 1 AND 4),
	created_at INTEGER NOT NULL,
	PRIMARY KEY (uid, reason)
) STRICT;

-- Accounts that ever began a binding. The row of an account is the lock under which its devices are counted.
CREATE TABLE holders (
	account    TEXT   NOT NULL PRIMARY KEY,
	created_at INTEGER NOT NULL
) STRICT;

-- A pending binding may be of a device that has no row yet.
CREATE TABLE bindings (
	binding_id  TEXT    NOT NULL PRIMARY KEY CHECK (length(binding_id) = 16), -- hexadecimal
	uid         TEXT    NOT NULL CHECK (length(uid) = 26),
	partner     TEXT    NOT NULL,
	account     TEXT    NOT NULL REFERENCES holders (account),
	nonce       BLOB    NOT NULL CHECK (length(nonce) = 16),
	state       INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3), -- 1 pending, 2 active, 3 released
	generation  INTEGER NOT NULL CHECK (generation >= 0),
	created_at  INTEGER NOT NULL,
	bound_at    INTEGER,
	CHECK (state <> 1 OR generation = 0),
	CHECK (state <> 2 OR generation > 0),
	CHECK ((generation > 0) = (bound_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX bindings_one_active ON bindings (uid) WHERE state = 2;
CREATE UNIQUE INDEX bindings_one_pending ON bindings (uid, account) WHERE state = 1;
CREATE UNIQUE INDEX bindings_generation ON bindings (uid, generation) WHERE generation > 0;
CREATE INDEX bindings_of_account ON bindings (account, bound_at, uid) WHERE state = 2;

-- Append-only. The last hash of each chain also stands in the device's row.
CREATE TABLE audit_entries (
	uid        TEXT    NOT NULL REFERENCES devices (uid),
	seq        INTEGER NOT NULL CHECK (seq >= 1),
	actor      TEXT    NOT NULL,
	action     TEXT    NOT NULL,
	state      INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
	auth_epoch INTEGER NOT NULL,
	note       TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	hash       BLOB    NOT NULL CHECK (length(hash) = 32),
	PRIMARY KEY (uid, seq)
) STRICT;

-- The answers of calls that may be repeated.
CREATE TABLE requests (
	caller      TEXT   NOT NULL,
	method      TEXT   NOT NULL,
	request_id  TEXT   NOT NULL,
	fingerprint BLOB   NOT NULL CHECK (length(fingerprint) = 32),
	response    BLOB   NOT NULL,
	created_at  INTEGER NOT NULL,
	PRIMARY KEY (caller, method, request_id)
) STRICT;

-- Keys that every process of the service must share, such as the one that signs page tokens.
CREATE TABLE secrets (
	name  TEXT NOT NULL PRIMARY KEY,
	value BLOB NOT NULL
) STRICT;

-- Events out and in, as the events package wants them.

CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    subject      TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    headers      TEXT    NOT NULL,
    data         BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    published_at INTEGER
);
CREATE INDEX outbox_pending ON outbox (published_at) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE inbox (
    consumer    TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_received ON inbox (consumer, received_at);
