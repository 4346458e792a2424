-- A second row of ledger_turns: the lock under which a batch moves balances and adds its link. With it batches of several
-- processes lock accounts one batch after the other, and need not lock each account before it is changed.
ALTER TABLE ledger_turns DROP CONSTRAINT ledger_turns_id_check;
ALTER TABLE ledger_turns ADD CONSTRAINT ledger_turns_id_check CHECK (id IN (1, 2));
INSERT INTO ledger_turns (id) VALUES (2);
