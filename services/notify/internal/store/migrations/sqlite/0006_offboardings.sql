-- Partners that auth has offboarded. A row stays for good: nothing is made for its partner again.
CREATE TABLE offboardings (
    partner    TEXT   PRIMARY KEY,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL DEFAULT 0 -- 0 while something is left
);
