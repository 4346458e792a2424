package store

import "embed"

// migrations hold all that differs between the databases: the types of the columns. The statements are the same text for
// both; where rows must be locked sqldb.Tx.ForUpdate says how.
//
//go:embed migrations
var migrationFiles embed.FS
