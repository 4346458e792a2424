// Package events carries facts from a service's database to NATS JetStream and into another service's database, so that
// each fact takes effect exactly once although every step on the way may be repeated.
//
// A service writes its events with [Append] in the transaction that makes them true. A [Relay] publishes the table outbox
// with the event's id as Nats-Msg-Id, many under one acknowledgement, and removes a row when JetStream has stored it; a row
// published twice falls to the stream's duplicate window or, later than that, to the consumer's inbox. A [Consumer] handles a message in a
// transaction that also writes the table inbox, and acknowledges it after the commit.
//
// Envelope: CloudEvents 1.0, NATS binding, binary mode. The headers are ce-specversion (1.0), ce-id, ce-source, ce-type
// (full name of the proto message), ce-time (RFC 3339 with nanoseconds, UTC), ce-subject (resource name, when there is
// one), content-type (application/protobuf) and traceparent (W3C Trace Context, when there is a trace).
//
// Order: events appended by transactions that wait for one another (such as changes of one row) are published in that
// order. After a failure a later event may overtake an earlier one, so a consumer that cares compares versions in the data.
//
// A service has these two tables in its own migrations; [Schema] gives the text:
//
//	SQLite                                        PostgreSQL
//	CREATE TABLE outbox (                         CREATE TABLE outbox (
//	    seq INTEGER PRIMARY KEY AUTOINCREMENT,        seq BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
//	    id TEXT NOT NULL UNIQUE, …                    id TEXT PRIMARY KEY, …
//	CREATE TABLE inbox (                          CREATE TABLE inbox (
//	    consumer, event_id, received_at …             consumer, event_id, received_at …
package events
