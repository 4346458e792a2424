-- The whole ledger: a chart of six kinds, accounts that can be frozen or closed, holds, statements that need no summing,
-- and a chain of hashes over all that is posted.
--
-- A posting no longer has foreign keys: three look-ups a row cost more than writing the row. What they said is checked
-- when the ledger is verified, and until then by the update of the two balances, which fails when an account is missing.
--
-- SQLite changes no constraint of a table, so the three are made anew. Rows that refer to them wait for the end.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE old_accounts AS SELECT * FROM ledger_accounts;
CREATE TABLE old_transactions AS SELECT * FROM ledger_transactions;
CREATE TABLE old_postings AS SELECT * FROM ledger_postings;
DROP TABLE ledger_postings;
DROP TABLE ledger_transactions;
DROP TABLE ledger_accounts;

CREATE TABLE ledger_accounts (
    id              TEXT    NOT NULL PRIMARY KEY,
    kind            TEXT    NOT NULL,
    currency        TEXT    NOT NULL CHECK (length(currency) = 3),
    status          TEXT    NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'frozen', 'closed')),
    min_balance     INTEGER,
    -- How far below its minimum a transaction that may overdraw can take the account.
    overdraft       INTEGER NOT NULL DEFAULT 0 CHECK (overdraft >= 0),
    posted_debits   INTEGER NOT NULL DEFAULT 0 CHECK (posted_debits >= 0),
    posted_credits  INTEGER NOT NULL DEFAULT 0 CHECK (posted_credits >= 0),
    pending_debits  INTEGER NOT NULL DEFAULT 0 CHECK (pending_debits >= 0),
    pending_credits INTEGER NOT NULL DEFAULT 0 CHECK (pending_credits >= 0),
    -- How many postings touched it, and when the last one did.
    entries         INTEGER NOT NULL DEFAULT 0 CHECK (entries >= 0),
    posted_at       INTEGER NOT NULL DEFAULT 0,
    -- Grows with every change, so that a decision can be checked against the account it was made on.
    version         INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    CONSTRAINT ledger_accounts_kind CHECK (kind IN ('wallet', 'merchant', 'fee', 'settlement', 'funding', 'suspense')),
    -- Where there is no minimum the comparison is unknown, which passes.
    CONSTRAINT ledger_accounts_minimum CHECK (posted_credits - posted_debits - pending_debits >= min_balance - overdraft),
    CONSTRAINT ledger_accounts_unlimited CHECK (min_balance IS NOT NULL OR kind IN ('funding', 'suspense')),
    CONSTRAINT ledger_accounts_closed CHECK (status <> 'closed'
        OR posted_credits = posted_debits AND pending_debits = 0 AND pending_credits = 0)
) STRICT;
INSERT INTO ledger_accounts (id, kind, currency, min_balance, posted_debits, posted_credits, created_at)
SELECT id, kind, currency, min_balance, posted_debits, posted_credits, created_at FROM old_accounts;

-- Chain 0 holds what was posted before there was one.
CREATE TABLE ledger_transactions (
    id        TEXT    NOT NULL PRIMARY KEY,
    purpose   TEXT    NOT NULL,
    reference TEXT    NOT NULL,
    posted_at INTEGER NOT NULL,
    chain     INTEGER NOT NULL DEFAULT 0,
    height    INTEGER NOT NULL DEFAULT 0,
    place     INTEGER NOT NULL DEFAULT 0,
    hash      BLOB    NOT NULL DEFAULT X'',
    CONSTRAINT ledger_transactions_once UNIQUE (purpose, reference)
) STRICT;
INSERT INTO ledger_transactions (id, purpose, reference, posted_at) SELECT id, purpose, reference, posted_at FROM old_transactions;

CREATE TABLE ledger_postings (
    transaction_id TEXT    NOT NULL,
    line           INTEGER NOT NULL,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT    NOT NULL,
    step           TEXT    NOT NULL DEFAULT 'posted' CHECK (step IN ('posted', 'pending', 'capture', 'void', 'expire')),
    hold           TEXT,
    posted_at      INTEGER NOT NULL DEFAULT 0,
    -- For both sides: the number of the entry in the account's statement, and the balance and the sum held after it.
    debit_entry    INTEGER NOT NULL DEFAULT 0,
    debit_balance  INTEGER NOT NULL DEFAULT 0,
    debit_held     INTEGER NOT NULL DEFAULT 0,
    credit_entry   INTEGER NOT NULL DEFAULT 0,
    credit_balance INTEGER NOT NULL DEFAULT 0,
    credit_held    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (transaction_id, line),
    CONSTRAINT ledger_postings_two_accounts CHECK (debit_account <> credit_account),
    CONSTRAINT ledger_postings_of_hold CHECK ((step = 'posted') = (hold IS NULL))
) STRICT;
INSERT INTO ledger_postings (transaction_id, line, debit_account, credit_account, amount, currency)
SELECT transaction_id, line, debit_account, credit_account, amount, currency FROM old_postings;
DROP TABLE old_accounts;
DROP TABLE old_transactions;
DROP TABLE old_postings;

-- What was posted before gets its entries, in the order of time.
WITH sides AS (
    SELECT p.transaction_id, p.line, t.posted_at, p.debit_account AS account, 1 AS debit, -p.amount AS change
    FROM ledger_postings p JOIN ledger_transactions t ON t.id = p.transaction_id
    UNION ALL
    SELECT p.transaction_id, p.line, t.posted_at, p.credit_account, 0, p.amount
    FROM ledger_postings p JOIN ledger_transactions t ON t.id = p.transaction_id
), entries AS (
    SELECT transaction_id, line, debit, posted_at, ROW_NUMBER() OVER byaccount AS entry,
        CAST(SUM(change) OVER byaccount AS INTEGER) AS balance
    FROM sides WINDOW byaccount AS (PARTITION BY account ORDER BY posted_at, transaction_id, line ROWS UNBOUNDED PRECEDING)
)
UPDATE ledger_postings SET posted_at = d.posted_at, debit_entry = d.entry, debit_balance = d.balance,
    credit_entry = c.entry, credit_balance = c.balance
FROM entries d, entries c
WHERE d.transaction_id = ledger_postings.transaction_id AND d.line = ledger_postings.line AND d.debit = 1
    AND c.transaction_id = ledger_postings.transaction_id AND c.line = ledger_postings.line AND c.debit = 0;

UPDATE ledger_accounts SET
    entries = (SELECT COUNT(*) FROM ledger_postings p WHERE p.debit_account = ledger_accounts.id OR p.credit_account = ledger_accounts.id),
    posted_at = (SELECT COALESCE(MAX(p.posted_at), 0) FROM ledger_postings p
        WHERE p.debit_account = ledger_accounts.id OR p.credit_account = ledger_accounts.id);

CREATE INDEX ledger_postings_of_debit ON ledger_postings (debit_account, posted_at, debit_entry);
CREATE INDEX ledger_postings_of_credit ON ledger_postings (credit_account, posted_at, credit_entry);

-- Money that is set aside. It follows from the postings of its id; the row is what a decision looks at.
CREATE TABLE ledger_holds (
    id             TEXT    NOT NULL PRIMARY KEY,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    currency       TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    captured       INTEGER NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released       INTEGER NOT NULL DEFAULT 0 CHECK (released >= 0),
    state          TEXT    NOT NULL CHECK (state IN ('pending', 'posted', 'voided', 'expired')),
    expires_at     INTEGER,
    CONSTRAINT ledger_holds_amount CHECK (captured + released <= amount),
    CONSTRAINT ledger_holds_state CHECK ((state = 'pending') = (captured + released < amount))
) STRICT;
CREATE INDEX ledger_holds_due ON ledger_holds (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;

-- Several chains, so that several processes can commit at once. Each batch adds one link to one of them.
CREATE TABLE ledger_chains (
    chain  INTEGER NOT NULL PRIMARY KEY CHECK (chain BETWEEN 1 AND 16),
    height INTEGER NOT NULL DEFAULT 0,
    head   BLOB    NOT NULL DEFAULT X''
) STRICT;
INSERT INTO ledger_chains (chain)
VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16);

CREATE TABLE ledger_links (
    chain        INTEGER NOT NULL REFERENCES ledger_chains (chain),
    height       INTEGER NOT NULL CHECK (height > 0),
    hash         BLOB    NOT NULL,
    transactions INTEGER NOT NULL CHECK (transactions > 0),
    PRIMARY KEY (chain, height)
) STRICT;

-- Processes whose batches got in each other's way lock its row and go one after the other.
CREATE TABLE ledger_turns (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1)
) STRICT;
INSERT INTO ledger_turns (id) VALUES (1);
