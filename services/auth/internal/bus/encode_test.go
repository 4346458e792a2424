package bus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryEventHasItsSubjectAndContent(t *testing.T) {
	uid := wire.NewRangeUID(1, 1, 7)
	device := "partners/acme/devices/" + uid.String()
	nonce := wire.Nonce{0xab}
	const nonceText = "ab000000000000000000000000000000"
	for _, c := range []struct {
		event   any
		subject string
		key     string
		message proto.Message
	}{
		{
			partner.Created{Partner: partner.Partner{ID: "acme", DisplayName: "Acme", No: 1, KeyEpoch: 1, CreatedAt: noon}},
			"evt.v1.live.auth.partner.created.acme.acme", "partners/acme",
			&authv1.PartnerCreated{Partner: &authv1.Partner{Name: "partners/acme", DisplayName: "Acme", PartnerNo: 1, KeyEpoch: 1, CreateTime: timestamppb.New(noon), State: authv1.PartnerState_PARTNER_STATE_ACTIVE}},
		},
		{
			partner.Changed{Partner: partner.Partner{ID: "acme", No: 1, Suspended: true, CreatedAt: noon}},
			"evt.v1.live.auth.partner.changed.acme.acme", "partners/acme",
			&authv1.PartnerChanged{Partner: &authv1.Partner{Name: "partners/acme", PartnerNo: 1, CreateTime: timestamppb.New(noon), State: authv1.PartnerState_PARTNER_STATE_SUSPENDED}},
		},
		{
			partner.ClientChanged{Client: partner.Client{ID: "op", Role: partner.RoleOperator, OperatorRole: partner.Support, Mode: partner.Live, State: partner.ClientRevoked, Revision: 2, CreatedAt: noon}},
			"evt.v1.live.auth.client.changed._.op", "clients/op",
			&authv1.ClientChanged{Client: &authv1.Client{
				Name: "clients/op", Role: authv1.ClientRole_CLIENT_ROLE_OPERATOR, OperatorRole: authv1.OperatorRole_OPERATOR_ROLE_SUPPORT, Mode: typev1.Mode_MODE_LIVE,
				State: authv1.ClientState_CLIENT_STATE_REVOKED, Revision: 2, CreateTime: timestamppb.New(noon),
			}},
		},
		{
			partner.GrantChanged{Grant: partner.Grant{Partner: "acme", Scope: "payments.read", State: partner.Approved, Revision: 1}},
			"evt.v1.live.auth.grant.changed.acme.payments~read", "partners/acme/grants/payments.read",
			&authv1.GrantChanged{Partner: "partners/acme", Grant: &authv1.Grant{
				Name: "partners/acme/grants/payments.read", Scope: "payments.read", State: authv1.GrantState_GRANT_STATE_APPROVED, Revision: 1,
			}},
		},
		{
			partner.GrantChanged{Grant: partner.Grant{Partner: "acme", Scope: "custom:acme/sleep", State: partner.Revoked, ExpiresAt: noon, Revision: 2}},
			"evt.v1.live.auth.grant.changed.acme.custom:acme/sleep", "partners/acme/grants/custom:acme/sleep",
			&authv1.GrantChanged{Partner: "partners/acme", Grant: &authv1.Grant{
				Name: "partners/acme/grants/custom:acme/sleep", Scope: "custom:acme/sleep", State: authv1.GrantState_GRANT_STATE_REVOKED,
				ExpireTime: timestamppb.New(noon), Revision: 2,
			}},
		},
		{
			challenge.DecisionMade{Decision: challenge.Decision{Nonce: nonce, Device: device, Partner: "acme", Purpose: wire.PurposePay}},
			"evt.v1.live.auth.decision.made.acme." + nonceText, "challenges/" + nonceText,
			&authv1.DecisionMade{Challenge: "challenges/" + nonceText, Device: device, Purpose: authv1.Purpose_PURPOSE_PAY, Approved: true},
		},
		{
			challenge.DecisionMade{Decision: challenge.Decision{Nonce: nonce, Device: device, Partner: "acme", Purpose: wire.PurposeVoucher, Reason: "TAP_DECLINED"}},
			"evt.v1.live.auth.decision.made.acme." + nonceText, "challenges/" + nonceText,
			&authv1.DecisionMade{Challenge: "challenges/" + nonceText, Device: device, Purpose: authv1.Purpose_PURPOSE_VOUCHER, Reason: "TAP_DECLINED"},
		},
		{
			challenge.CloneSuspected{Device: device, Partner: "acme", UID: uid, Counter: 5, HighWater: 9},
			"evt.v1.live.auth.device.clone_suspected.acme." + uid.String(), device,
			&authv1.CloneSuspected{Device: device, Counter: 5, HighWater: 9},
		},
	} {
		ev, err := Encode(t.Context(), c.event, noon)
		must(t, err)
		if ev.Subject != c.subject || ev.Key != c.key || ev.Type != string(c.message.ProtoReflect().Descriptor().FullName()) || !ev.Time.Equal(noon) {
			t.Errorf("%T: subject %s, key %s, type %s", c.event, ev.Subject, ev.Key, ev.Type)
		}
		got := c.message.ProtoReflect().New().Interface()
		must(t, proto.Unmarshal(ev.Data, got))
		if diff := cmp.Diff(c.message, got, protocmp.Transform()); diff != "" {
			t.Errorf("%T: %s", c.event, diff)
		}
	}
	if _, err := Encode(t.Context(), "nonsense", noon); err == nil {
		t.Error("an unknown event was encoded")
	}
}
