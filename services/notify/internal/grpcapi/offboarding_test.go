package grpcapi_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/sqldb"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

func TestAnOffboardingIsToldFromBeforeItsBeginningToItsEnd(t *testing.T) {
	a := newAPI(t)
	a.subscribe(&notifyv1.CreateSubscriptionRequest{SubscriptionId: "main"})
	a.eventType("sleep", 0)
	a.campaign("acme", 3)
	want := &notifyv1.Offboarding{
		Name: "partners/acme/offboarding", State: notifyv1.OffboardingState_OFFBOARDING_STATE_NONE,
		Holdings: &notifyv1.PartnerHoldings{
			Subscriptions: 1, EventTypes: 1, OpenCampaigns: 1, NatsAccount: true, Stream: true, StreamEvents: 3, StreamConsumers: 1,
		},
	}
	look := func(when string) {
		t.Helper()
		got, err := a.as("operator").GetOffboarding(t.Context(), &notifyv1.GetOffboardingRequest{Name: want.GetName()})
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v, %s", when, err, diff)
		}
	}
	look("before")
	err := a.db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return a.st.StartOffboarding(ctx, tx, "acme", noon) })
	if err != nil {
		t.Fatal(err)
	}
	want.State, want.StartTime = notifyv1.OffboardingState_OFFBOARDING_STATE_RUNNING, timestamppb.New(noon)
	look("under way")
	if err := a.st.EndOffboarding(t.Context(), "acme", noon); err != nil {
		t.Fatal(err)
	}
	want.State, want.EndTime = notifyv1.OffboardingState_OFFBOARDING_STATE_DONE, timestamppb.New(noon)
	look("at its end")
}
