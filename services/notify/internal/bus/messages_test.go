package bus

import (
	"strings"
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

// A new event of payments, auth or devices is told to the wearer, or it is said here why not.
func TestEveryEventIsToldToTheWearerOrLeftOutOnPurpose(t *testing.T) {
	silent := map[string]string{
		"armlet.payments.v1.PaymentCreated":     "the wearer holds the band to the terminal at this moment",
		"armlet.payments.v1.PaymentFacts":       "a part of the others, no event",
		"armlet.payments.v1.TerminalChanged":    "no wearer is concerned",
		"armlet.payments.v1.MerchantChanged":    "no wearer is concerned",
		"armlet.payments.v1.SettlementCreated":  "no wearer is concerned",
		"armlet.payments.v1.AccountCreated":     "the wearer opens it in the operator's own app",
		"armlet.payments.v1.MerchantCreated":    "no wearer is concerned",
		"armlet.payments.v1.TerminalCreated":    "no wearer is concerned",
		"armlet.payments.v1.LimitPolicySet":     "a limit is told of by the payment that it declines",
		"armlet.payments.v1.LimitPolicyDeleted": "a limit is told of by the payment that it declines",
		"armlet.auth.v1.PartnerCreated":         "no wearer is concerned",
		"armlet.auth.v1.PartnerChanged":         "no wearer is concerned",
		"armlet.auth.v1.PartnerOffboarded":      "no wearer is concerned: bands stay what they are",
		"armlet.auth.v1.ClientChanged":          "no wearer is concerned",
		"armlet.auth.v1.GrantChanged":           "no wearer is concerned",
		"armlet.auth.v1.DecisionMade":           "what follows from it is told: the payment, the redeemed voucher, the band that was added or removed",
		"armlet.devices.v1.LotCreated":          "no wearer is concerned",
		"armlet.devices.v1.LotReleased":         "no wearer is concerned",
		"armlet.devices.v1.LotRecalled":         "it tells of a lot, not of wearers; a payment that is declined for it is told",
		"armlet.devices.v1.ModelStatusChanged":  "it tells of a model, not of wearers; a payment that is declined for it is told",
	}
	for name, empty := range known {
		_, told := story(empty())
		why, left := silent[name]
		if !strings.HasPrefix(name, "armlet.notify.") && told == left {
			t.Errorf("%s: told %t, left out because %q", name, told, why)
		}
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
