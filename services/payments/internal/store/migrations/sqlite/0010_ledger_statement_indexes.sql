-- Only postings that do not name the one before them are found by an index; for all others it was the largest part of what
-- a transfer cost. It is a migration of its own so that readers wait only for the end of it. Writers wait while it runs.
CREATE INDEX ledger_postings_unlinked_debit ON ledger_postings (debit_account, posted_at, debit_entry) WHERE debit_before IS NULL;
CREATE INDEX ledger_postings_unlinked_credit ON ledger_postings (credit_account, posted_at, credit_entry) WHERE credit_before IS NULL;
DROP INDEX ledger_postings_of_debit;
DROP INDEX ledger_postings_of_credit;
