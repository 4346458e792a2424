// Package testkit starts what tests need and stops it again: PostgreSQL, Redis and NATS servers, fresh databases, a clock
// that stands still, certificates, clients of a server under test, and the figures of benchmarks ([Record]).
//
// Everything is real. A test whose server cannot be started fails and says what to install; it is never skipped. Servers
// die with the test process, however that ends.
package testkit
