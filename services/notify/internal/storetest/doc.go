// Package storetest is the contract of notify's store as a test: the same suite on SQLite and on PostgreSQL, races
// included.
package storetest
