package grpcapi_test

import (
	"testing"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

func TestABundleTurnsOnWhatItNamesAndLeavesTheRest(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme", "devices.read", "payments.read", "alerts.critical")
	op, ctx := f.asOperator(), t.Context()
	_, err := f.as(f.tokenOf(c)).CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/acme", Scope: "alerts.send", RequestId: "wish"})
	must(t, err)
	_, err = op.SuspendGrant(ctx, &authv1.SuspendGrantRequest{Name: "partners/acme/grants/payments.read", RequestId: "s"})
	must(t, err)
	apply := func(bundle authv1.GrantBundle, parent, request string) ([]*authv1.Grant, error) {
		got, err := op.ApplyGrantBundle(ctx, &authv1.ApplyGrantBundleRequest{Parent: parent, Bundle: bundle, RequestId: request})
		return got.GetGrants(), err
	}
	for range 2 {
		got, err := apply(authv1.GrantBundle_GRANT_BUNDLE_BASIC, "partners/acme", "basic")
		must(t, err)
		if len(got) != len(partner.Basic) {
			t.Fatalf("granted %v", got)
		}
		for i, g := range got {
			state, revision := authv1.GrantState_GRANT_STATE_APPROVED, int64(1)
			switch g.GetScope() {
			case "payments.read":
				state, revision = authv1.GrantState_GRANT_STATE_SUSPENDED, 2
			case "alerts.send":
				revision = 2
			}
			if g.GetScope() != partner.Basic[i] || g.GetState() != state || g.GetRevision() != revision {
				t.Errorf("%v", g)
			}
		}
	}
	got, err := apply(authv1.GrantBundle_GRANT_BUNDLE_EXTENDED, "partners/acme", "extended")
	must(t, err)
	list, err := op.ListGrants(ctx, &authv1.ListGrantsRequest{Parent: "partners/acme"})
	must(t, err)
	if len(got) != len(partner.Extended) || len(list.GetGrants()) != len(partner.Extended)+1 {
		t.Errorf("%d of the bundle, %d in all", len(got), len(list.GetGrants()))
	}
	_, err = apply(authv1.GrantBundle_GRANT_BUNDLE_BASIC, "partners/acme", "extended")
	want(t, err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	_, err = apply(authv1.GrantBundle_GRANT_BUNDLE_BASIC, "partners/nobody", "x")
	want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
	_, err = apply(authv1.GrantBundle_GRANT_BUNDLE_UNSPECIFIED, "partners/acme", "y")
	want(t, err, fault.Invalid, "INVALID_FIELD")
}
