-- Statements are read from one transaction to the one before: a posting names the transaction that touched each of its
-- accounts before it, the account the last one, and a mark about one entry in 64, where reading can begin. The first posting
-- of a transaction on an account names it; '' is nothing before, NULL that the posting is of a program before this migration.
ALTER TABLE ledger_accounts ADD COLUMN last_transaction TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE ledger_postings
    ADD COLUMN debit_before  TEXT COLLATE "C",
    ADD COLUMN credit_before TEXT COLLATE "C";

-- No key is unique: batches that will be rolled back must not keep others waiting.
CREATE TABLE ledger_marks (
    account        TEXT   COLLATE "C" NOT NULL,
    entry          BIGINT NOT NULL,
    posted_at      BIGINT NOT NULL,
    transaction_id TEXT   COLLATE "C" NOT NULL
);
CREATE INDEX ledger_marks_by_entry ON ledger_marks (account, entry);
CREATE INDEX ledger_marks_by_time ON ledger_marks (account, posted_at, entry);
