package telemetry

// The names of the instruments that every service has, by the OpenTelemetry semantic conventions (1.40) where they have one and under
// armlet. where they have none. otelgrpc adds rpc.client.call.duration and rpc.server.call.duration, redisotel
// db.client.connections.* of Redis. deploy/metrics.yaml says what each means, its unit and its attributes; a test holds
// the running suite, the dashboards and the alert rules against it.
const (
	// DBOperationDuration is a histogram in seconds, by db.system.name and db.operation.name: how long a statement took, or
	// (operation TRANSACTION) a transaction with all its attempts.
	DBOperationDuration = "db.client.operation.duration"
	// DBConnectionCount is a gauge of connections, by db.client.connection.state (idle, used).
	DBConnectionCount = "db.client.connection.count"
	// DBConnectionMax is a gauge: how many connections there may be.
	DBConnectionMax = "db.client.connection.max"
	// DBConnectionWaits is a counter of callers that had to wait for a connection.
	DBConnectionWaits = "armlet.db.connection.waits"

	// CertificateRemaining is a gauge in seconds: for how long the certificate that a service shows to its callers is good;
	// below zero when it has ended. Services without TLS do not have it.
	CertificateRemaining = "armlet.certificate.remaining"

	// MessagesSent is a counter of events that JetStream stored.
	MessagesSent = "messaging.client.sent.messages"
	// MessagesConsumed is a counter of deliveries, by messaging.consumer.group.name.
	MessagesConsumed = "messaging.client.consumed.messages"
	// ProcessDuration is a histogram in seconds, by messaging.consumer.group.name and error.type (absent when it went well).
	ProcessDuration = "messaging.process.duration"
	// EventsCommitted is a counter of what happened, by armlet.event.type: it counts an event when its transaction commits.
	EventsCommitted = "armlet.events.committed"
	// OutboxPending is a gauge of events that are committed and not yet in JetStream.
	OutboxPending = "armlet.outbox.pending"
	// OutboxAge is a gauge in seconds: for how long the oldest of them has been waiting.
	OutboxAge = "armlet.outbox.age"
	// ConsumerPending is a gauge of events that wait in the stream for a consumer, by messaging.consumer.group.name.
	ConsumerPending = "armlet.consumer.pending"
	// DeadLetters is a counter of events that a consumer gave up on, by messaging.consumer.group.name.
	DeadLetters = "armlet.dead_letters"
)

// The attributes of these instruments. Each has few values: a name of a resource or a person is never one.
const (
	AttrSystem    = "db.system.name"
	AttrOperation = "db.operation.name"
	AttrConnState = "db.client.connection.state"
	AttrGroup     = "messaging.consumer.group.name"
	AttrMessaging = "messaging.system"
	AttrErrorType = "error.type"
	AttrEventType = "armlet.event.type"
)
