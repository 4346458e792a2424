-- A second row of ledger_turns: the lock under which a batch moves balances and adds its link. SQLite has one writer and
-- needs no such lock; the table is the same in both databases.
DROP TABLE ledger_turns;
CREATE TABLE ledger_turns (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id IN (1, 2))
) STRICT;
INSERT INTO ledger_turns (id) VALUES (1), (2);
