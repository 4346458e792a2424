package bus

import (
	"testing"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func TestEveryEventOfTheContractIsKnown(t *testing.T) {
	total := 0
	for _, file := range []interface{ Len() int }{
		devicesv1.File_armlet_devices_v1_events_proto.Messages(), authv1.File_armlet_auth_v1_events_proto.Messages(),
		paymentsv1.File_armlet_payments_v1_events_proto.Messages(), notifyv1.File_armlet_notify_v1_events_proto.Messages(),
	} {
		total += file.Len()
	}
	if len(known) != total || known["armlet.auth.v1.ClientChanged"] == nil {
		t.Errorf("%d of %d types are known", len(known), total)
	}
}

func TestAnAccountThatNobodyThoughtOfIsHidden(t *testing.T) {
	// Neither type has a field that is meant for an account; a name in any field must not get out all the same.
	client := &authv1.ClientChanged{Client: &authv1.Client{Name: "accounts/alice"}}
	redact(client)
	if got := client.GetClient().GetName(); got != "accounts/-" {
		t.Errorf("a nested name is shown: %s", got)
	}
	disabled := &notifyv1.SubscriptionDisabled{Reason: "accounts/alice/lots/1"}
	redact(disabled)
	if disabled.GetReason() != "accounts/-/lots/1" {
		t.Errorf("a text is shown: %s", disabled.GetReason())
	}
}
