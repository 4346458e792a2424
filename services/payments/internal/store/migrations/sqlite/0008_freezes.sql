-- Why an account is frozen; that it is says its ledger account's status.
ALTER TABLE accounts ADD COLUMN freeze_reason TEXT NOT NULL DEFAULT '';
