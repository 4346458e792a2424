// Package sqldb opens SQLite and PostgreSQL behind one small type, so that a store is written once.
//
// Both databases take the same query text with $1 parameters. What a caller may rely on in both:
//
//   - [DB.InTx] commits everything or nothing, is rolled back on an error and on a panic, and is tried again (bounded, with
//     jitter) when the database says that the transaction lost a race. The function must therefore have no effect outside
//     its transaction; what must follow the commit goes to [Tx.OnCommit].
//   - A commit that was acknowledged survives the death of the process and of the machine: SQLite runs in WAL mode with
//     synchronous=FULL; PostgreSQL does so by default.
//   - Reads through [DB] see every transaction that was committed before they began.
//
// What differs: SQLite has a single writer. All transactions of one process share one connection and begin with BEGIN
// IMMEDIATE, so they run one after the other and read what they will update without locking it; [Tx.ForUpdate] is empty
// there. Reads through [DB] use a pool of their own whose connections refuse to write. PostgreSQL runs transactions at once
// in READ COMMITTED, so a store locks the rows it decides on with [Tx.ForUpdate]. After a failed statement PostgreSQL
// refuses the rest of the transaction: use ON CONFLICT instead of catching a unique violation in the middle of one.
//
// Times are stored as unix microseconds in BIGINT or INTEGER columns, booleans as INTEGER 0 or 1.
package sqldb
