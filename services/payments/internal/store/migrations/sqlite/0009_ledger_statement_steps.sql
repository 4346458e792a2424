-- Statements are read from one transaction to the one before: a posting names the transaction that touched each of its
-- accounts before it, the account the last one, and a mark about one entry in 64, where reading can begin. The first posting
-- of a transaction on an account names it; '' is nothing before, NULL that the posting is of a program before this migration.
ALTER TABLE ledger_accounts ADD COLUMN last_transaction TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger_postings ADD COLUMN debit_before TEXT;
ALTER TABLE ledger_postings ADD COLUMN credit_before TEXT;

CREATE TABLE ledger_marks (
    account        TEXT    NOT NULL,
    entry          INTEGER NOT NULL,
    posted_at      INTEGER NOT NULL,
    transaction_id TEXT    NOT NULL,
    PRIMARY KEY (account, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_marks_by_time ON ledger_marks (account, posted_at, entry);
