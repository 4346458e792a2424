-- The registry's tables. Times are unix microseconds; a uid is its 26 characters, whose order is that of the 16 bytes.

CREATE TABLE models (
	partner             TEXT    NOT NULL,
	model_id            TEXT    NOT NULL,
	display_name        TEXT    NOT NULL,
	suites              TEXT    NOT NULL, -- numbers, separated by commas
	has_display         INTEGER NOT NULL CHECK (has_display IN (0, 1)),
	has_wrist_detection INTEGER NOT NULL CHECK (has_wrist_detection IN (0, 1)),
	min_svn             INTEGER NOT NULL CHECK (min_svn BETWEEN 0 AND 65535),
	created_at          BIGINT  NOT NULL,
	PRIMARY KEY (partner, model_id)
);

-- A range lot is one row for all of its devices: those from first_uid on, device_count in number.
CREATE TABLE lots (
	partner_no   BIGINT  NOT NULL CHECK (partner_no BETWEEN 1 AND 4294967295),
	lot_no       BIGINT  NOT NULL CHECK (lot_no BETWEEN 1 AND 4294967295),
	partner      TEXT    NOT NULL,
	model_id     TEXT    NOT NULL,
	suite        INTEGER NOT NULL CHECK (suite IN (1, 2)),
	key_epoch    INTEGER NOT NULL CHECK (key_epoch BETWEEN 1 AND 65535),
	first_uid    TEXT    NOT NULL CHECK (length(first_uid) = 26),
	device_count BIGINT  NOT NULL CHECK (device_count BETWEEN 1 AND 1000000000),
	created_at   BIGINT  NOT NULL,
	PRIMARY KEY (partner_no, lot_no),
	UNIQUE (partner, lot_no),
	FOREIGN KEY (partner, model_id) REFERENCES models (partner, model_id)
);

-- A device of a range lot gets its row when something first happens to it.
CREATE TABLE devices (
	uid        TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(uid) = 26),
	partner    TEXT    NOT NULL,
	model_id   TEXT    NOT NULL,
	lot_no     BIGINT  NOT NULL CHECK (lot_no BETWEEN 0 AND 4294967295), -- 0: registered by itself
	state      INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
	suite      INTEGER NOT NULL CHECK (suite BETWEEN 1 AND 4),
	key_epoch  INTEGER NOT NULL CHECK (key_epoch BETWEEN 1 AND 65535),
	public_key BYTEA,
	auth_epoch BIGINT  NOT NULL CHECK (auth_epoch >= 1),
	generation BIGINT  NOT NULL CHECK (generation >= 0),
	audit_seq  BIGINT  NOT NULL CHECK (audit_seq >= 0),
	audit_hash BYTEA    NOT NULL CHECK (length(audit_hash) = 32),
	created_at BIGINT  NOT NULL,
	CHECK ((suite IN (3, 4)) = (public_key IS NOT NULL)),
	CHECK (lot_no = 0 OR suite IN (1, 2)),
	FOREIGN KEY (partner, model_id) REFERENCES models (partner, model_id)
);
CREATE INDEX devices_of_partner ON devices (partner, uid);

CREATE TABLE suspensions (
	uid        TEXT COLLATE "C" NOT NULL REFERENCES devices (uid),
	reason     INTEGER NOT NULL CHECK (reason BETWEEN 1 AND 4),
	authority  INTEGER NOT NULL CHECK (authority BETWEEN 1 AND 4),
	created_at BIGINT  NOT NULL,
	PRIMARY KEY (uid, reason)
);

-- Accounts that ever began a binding. The row of an account is the lock under which its devices are counted.
CREATE TABLE holders (
	account    TEXT   NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL
);

-- A pending binding may be of a device that has no row yet.
CREATE TABLE bindings (
	binding_id  TEXT    NOT NULL PRIMARY KEY CHECK (length(binding_id) = 16), -- hexadecimal
	uid         TEXT COLLATE "C" NOT NULL CHECK (length(uid) = 26),
	partner     TEXT    NOT NULL,
	account     TEXT    NOT NULL REFERENCES holders (account),
	nonce       BYTEA    NOT NULL CHECK (length(nonce) = 16),
	state       INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3), -- 1 pending, 2 active, 3 released
	generation  BIGINT  NOT NULL CHECK (generation >= 0),
	created_at  BIGINT  NOT NULL,
	bound_at    BIGINT,
	CHECK (state <> 1 OR generation = 0),
	CHECK (state <> 2 OR generation > 0),
	CHECK ((generation > 0) = (bound_at IS NOT NULL))
);
CREATE UNIQUE INDEX bindings_one_active ON bindings (uid) WHERE state = 2;
CREATE UNIQUE INDEX bindings_one_pending ON bindings (uid, account) WHERE state = 1;
CREATE UNIQUE INDEX bindings_generation ON bindings (uid, generation) WHERE generation > 0;
CREATE INDEX bindings_of_account ON bindings (account, bound_at, uid) WHERE state = 2;

-- Append-only. The last hash of each chain also stands in the device's row.
CREATE TABLE audit_entries (
	uid        TEXT COLLATE "C" NOT NULL REFERENCES devices (uid),
	seq        BIGINT  NOT NULL CHECK (seq >= 1),
	actor      TEXT    NOT NULL,
	action     TEXT    NOT NULL,
	state      INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
	auth_epoch BIGINT  NOT NULL,
	note       TEXT    NOT NULL,
	created_at BIGINT  NOT NULL,
	hash       BYTEA    NOT NULL CHECK (length(hash) = 32),
	PRIMARY KEY (uid, seq)
);

-- The answers of calls that may be repeated.
CREATE TABLE requests (
	caller      TEXT   NOT NULL,
	method      TEXT   NOT NULL,
	request_id  TEXT   NOT NULL,
	fingerprint BYTEA   NOT NULL CHECK (length(fingerprint) = 32),
	response    BYTEA   NOT NULL,
	created_at  BIGINT NOT NULL,
	PRIMARY KEY (caller, method, request_id)
);

-- Keys that every process of the service must share, such as the one that signs page tokens.
CREATE TABLE secrets (
	name  TEXT NOT NULL PRIMARY KEY,
	value BYTEA NOT NULL
);

-- Events out and in, as the events package wants them.

CREATE TABLE outbox (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
    id           TEXT   PRIMARY KEY,
    subject      TEXT   NOT NULL,
    type         TEXT   NOT NULL,
    headers      TEXT   NOT NULL,
    data         BYTEA  NOT NULL,
    created_at   BIGINT NOT NULL,
    published_at BIGINT
);
CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE inbox (
    consumer    TEXT   NOT NULL,
    event_id    TEXT   NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_received ON inbox (consumer, received_at);
