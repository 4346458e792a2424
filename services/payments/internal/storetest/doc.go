// Package storetest is the contract of the store: one suite that SQLite and PostgreSQL both pass, with the rules of the
// domain on top where a race or a crash concerns both. It has tests only.
package storetest
