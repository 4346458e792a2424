package device

import "time"

// Kind is what happened to a device.
type Kind uint8

// The kinds of events.
const (
	EventCreated Kind = iota + 1
	EventBound
	EventSuspended
	EventSuspensionLifted
	EventReleased
	EventEnded
	EventTransferBegun
	EventTransferCancelled
	EventTransferred
	EventCredentialAdded
	EventCredentialRetired
	EventLabelled
)

// Event is one change to a device. The store writes each into the audit record and hands it to the outbox, in the
// transaction of the change.
type Event struct {
	Kind    Kind
	Device  Device // after the change
	By      Actor
	At      time.Time
	Note    string
	Reason  Reason    // of EventSuspended and EventSuspensionLifted
	Binding BindingID // of EventBound, EventReleased and EventTransferred
	Account string    // of EventReleased, EventEnded and EventTransferred: who had it
}

var actions = map[Kind]string{ //nolint:gosec // names of actions, no credentials
	EventCreated: "device.created", EventBound: "binding.confirmed", EventReleased: "binding.released",
	EventTransferBegun: "transfer.begun", EventTransferCancelled: "transfer.cancelled", EventTransferred: "transfer.completed",
	EventCredentialAdded: "credential.added", EventCredentialRetired: "credential.retired", EventLabelled: "labels.changed",
}

// Action is the name of the change in the audit record.
func (e Event) Action() string {
	switch e.Kind {
	case EventSuspended:
		return "suspension.added." + e.Reason.String()
	case EventSuspensionLifted:
		return "suspension.lifted." + e.Reason.String()
	case EventEnded:
		if e.Device.State == Revoked {
			return "device.revoked"
		}
		return "device.retired"
	default:
		return actions[e.Kind]
	}
}
