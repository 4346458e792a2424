-- The whole ledger: a chart of six kinds, accounts that can be frozen or closed, holds, statements that need no summing,
-- and a chain of hashes over all that is posted.
--
-- A posting no longer has foreign keys: three look-ups a row cost more than writing the row. What they said is checked
-- when the ledger is verified, and until then by the update of the two balances, which fails when an account is missing.
ALTER TABLE ledger_postings DROP CONSTRAINT ledger_postings_transaction_id_fkey;
ALTER TABLE ledger_postings DROP CONSTRAINT ledger_postings_debit_account_currency_fkey;
ALTER TABLE ledger_postings DROP CONSTRAINT ledger_postings_credit_account_currency_fkey;
ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_currency;
ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_kind_check;
ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_minimum;
ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_unlimited;

-- Ids are compared by their bytes, in which UUIDv7 sorts by time whatever the locale.
ALTER TABLE ledger_accounts     ALTER COLUMN id             TYPE TEXT COLLATE "C";
ALTER TABLE ledger_transactions ALTER COLUMN id             TYPE TEXT COLLATE "C";
ALTER TABLE ledger_transactions ALTER COLUMN reference      TYPE TEXT COLLATE "C";
ALTER TABLE ledger_postings     ALTER COLUMN transaction_id TYPE TEXT COLLATE "C";
ALTER TABLE ledger_postings     ALTER COLUMN debit_account  TYPE TEXT COLLATE "C";
ALTER TABLE ledger_postings     ALTER COLUMN credit_account TYPE TEXT COLLATE "C";

ALTER TABLE ledger_accounts
    ADD COLUMN status          TEXT   NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'frozen', 'closed')),
    -- How far below its minimum a transaction that may overdraw can take the account.
    ADD COLUMN overdraft       BIGINT NOT NULL DEFAULT 0 CHECK (overdraft >= 0),
    ADD COLUMN pending_debits  BIGINT NOT NULL DEFAULT 0 CHECK (pending_debits >= 0),
    ADD COLUMN pending_credits BIGINT NOT NULL DEFAULT 0 CHECK (pending_credits >= 0),
    -- How many postings touched it, and when the last one did.
    ADD COLUMN entries         BIGINT NOT NULL DEFAULT 0 CHECK (entries >= 0),
    ADD COLUMN posted_at       BIGINT NOT NULL DEFAULT 0,
    -- Grows with every change, so that a decision can be checked against the account it was made on.
    ADD COLUMN version         BIGINT NOT NULL DEFAULT 0,
    ADD CONSTRAINT ledger_accounts_kind CHECK (kind IN ('wallet', 'merchant', 'fee', 'settlement', 'funding', 'suspense')),
    -- Where there is no minimum the comparison is unknown, which passes.
    ADD CONSTRAINT ledger_accounts_minimum CHECK (posted_credits - posted_debits - pending_debits >= min_balance - overdraft),
    ADD CONSTRAINT ledger_accounts_unlimited CHECK (min_balance IS NOT NULL OR kind IN ('funding', 'suspense')),
    ADD CONSTRAINT ledger_accounts_closed CHECK (status <> 'closed'
        OR posted_credits = posted_debits AND pending_debits = 0 AND pending_credits = 0);
-- Room on each page, so that a new balance finds place beside the old one and no index is touched.
ALTER TABLE ledger_accounts SET (fillfactor = 60);

-- Chain 0 holds what was posted before there was one.
ALTER TABLE ledger_transactions
    ADD COLUMN chain  INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN height BIGINT  NOT NULL DEFAULT 0,
    ADD COLUMN place  INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN hash   BYTEA   NOT NULL DEFAULT '';

ALTER TABLE ledger_postings
    ADD COLUMN step           TEXT   NOT NULL DEFAULT 'posted' CHECK (step IN ('posted', 'pending', 'capture', 'void', 'expire')),
    ADD COLUMN hold           TEXT   COLLATE "C",
    ADD COLUMN posted_at      BIGINT NOT NULL DEFAULT 0,
    -- For both sides: the number of the entry in the account's statement, and the balance and the sum held after it.
    ADD COLUMN debit_entry    BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN debit_balance  BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN debit_held     BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN credit_entry   BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN credit_balance BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN credit_held    BIGINT NOT NULL DEFAULT 0,
    ADD CONSTRAINT ledger_postings_of_hold CHECK ((step = 'posted') = (hold IS NULL));

-- What was posted before gets its entries, in the order of time.
WITH sides AS (
    SELECT p.transaction_id, p.line, t.posted_at, p.debit_account AS account, 1 AS debit, -p.amount AS change
    FROM ledger_postings p JOIN ledger_transactions t ON t.id = p.transaction_id
    UNION ALL
    SELECT p.transaction_id, p.line, t.posted_at, p.credit_account, 0, p.amount
    FROM ledger_postings p JOIN ledger_transactions t ON t.id = p.transaction_id
), entries AS (
    SELECT transaction_id, line, debit, posted_at, ROW_NUMBER() OVER byaccount AS entry,
        CAST(SUM(change) OVER byaccount AS BIGINT) AS balance
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
    id             TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    debit_account  TEXT   COLLATE "C" NOT NULL,
    credit_account TEXT   COLLATE "C" NOT NULL,
    currency       TEXT   NOT NULL,
    amount         BIGINT NOT NULL CHECK (amount > 0),
    captured       BIGINT NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released       BIGINT NOT NULL DEFAULT 0 CHECK (released >= 0),
    state          TEXT   NOT NULL CHECK (state IN ('pending', 'posted', 'voided', 'expired')),
    expires_at     BIGINT,
    CONSTRAINT ledger_holds_amount CHECK (captured + released <= amount),
    CONSTRAINT ledger_holds_state CHECK ((state = 'pending') = (captured + released < amount))
);
CREATE INDEX ledger_holds_due ON ledger_holds (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;

-- Several chains, so that several processes can commit at once. Each batch adds one link to one of them.
CREATE TABLE ledger_chains (
    chain  INTEGER NOT NULL PRIMARY KEY CHECK (chain BETWEEN 1 AND 16),
    height BIGINT  NOT NULL DEFAULT 0,
    head   BYTEA   NOT NULL DEFAULT ''
);
INSERT INTO ledger_chains (chain)
VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16);

CREATE TABLE ledger_links (
    chain        INTEGER NOT NULL REFERENCES ledger_chains (chain),
    height       BIGINT  NOT NULL CHECK (height > 0),
    hash         BYTEA   NOT NULL,
    transactions INTEGER NOT NULL CHECK (transactions > 0),
    PRIMARY KEY (chain, height)
);

-- Processes whose batches got in each other's way lock its row and go one after the other.
CREATE TABLE ledger_turns (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1)
);
INSERT INTO ledger_turns (id) VALUES (1);
