// Package storetest holds auth's stores to their contracts: the live stores in Redis and in memory, and the database on
// SQLite and PostgreSQL, alone and under the whole of a tap. It also has what tests of other packages need for a tap: a
// band that speaks the device protocol, and a device registry in memory.
package storetest
