package grpcapi_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/storetest"
)

// refill has the wearer's band fetch an offline grant over the edge.
func (f *fixture) refill(wearer authv1.AuthServiceClient, b *storetest.Band) (*authv1.Decision, *storetest.Pocket) {
	f.t.Helper()
	c, err := wearer.CreateChallenge(f.t.Context(), &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_OFFLINE_REFILL, Subject: &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: b.UID.String()},
		Amount: &typev1.Money{MinorUnits: 1000, CurrencyCode: "CNY"}, MerchantUid: make([]byte, 16), IntentUid: make([]byte, 16), RequestId: f.requestID(),
	})
	must(f.t, err)
	d, err := wearer.VerifyResponse(f.t.Context(), &authv1.VerifyResponseRequest{Challenge: c.GetName(), ResponseFrame: f.answer(b, c.GetChallengeFrame())})
	must(f.t, err)
	known := f.registry.Get(b.UID)
	p, err := b.Grant(d.GetResultFrame(), known.BindingID, known.BindNonce, 0)
	must(f.t, err)
	return d, p
}

func TestOfflineTapsAreAnsweredInTheirOrder(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	ann, b := f.wearer("ann"), f.band(1)
	f.claim(ann, b)
	d, p := f.refill(ann, b)
	if g := d.GetOfflineGrant(); g.GetGrantId() != p.ID || g.GetCumulativeLimit().GetMinorUnits() != 1000 || g.GetMaxTap().GetMinorUnits() != 500 || d.GetAssertion() != "" {
		t.Errorf("the decision is %v", d)
	}
	terminal, tap, err := b.Tap(p, wire.TerminalTap{
		TerminalID: wire.TerminalID{0xaa}, FareCap: 200, Currency: "CNY", MCC: 4111, Time: uint32(f.clock.Now().Unix()),
	})
	must(t, err)
	stream, err := f.asService("payments").VerifyOfflineTaps(t.Context())
	must(t, err)
	sent := []*authv1.VerifyOfflineTapsRequest{
		{Sequence: 7, TerminalFrame: terminal, TapFrame: tap, MerchantCategoryCode: 4111},
		{Sequence: 8, TerminalFrame: terminal, TapFrame: tap, MerchantCategoryCode: 4111},
		{Sequence: 9, TerminalFrame: []byte("x"), TapFrame: tap, MerchantCategoryCode: 4111},
		{Sequence: 10},
	}
	for _, in := range sent {
		must(t, stream.Send(in))
	}
	must(t, stream.CloseSend())
	var got []*authv1.VerifyOfflineTapsResponse
	for range sent {
		out, err := stream.Recv()
		must(t, err)
		got = append(got, out)
	}
	for i, want := range []authv1.OfflineVerdict{1, 2, 3, 3} {
		if got[i].GetStatus() != want || got[i].GetSequence() != sent[i].GetSequence() {
			t.Errorf("answer %d: %v", i, got[i])
		}
	}
	first := got[0]
	if first.GetDevice() != "partners/acme/devices/"+b.UID.String() || first.GetAccount() != "accounts/ann" || first.GetPartner() != "partners/acme" ||
		first.GetGrantId() != p.ID || first.GetOfflineCounter() != 1 || first.GetCumulativeSpent() != 200 || first.GetFareCap() != 200 ||
		first.GetCurrency() != "CNY" || first.GetExponent() != 2 || first.GetCumulativeLimit() != 1000 || first.GetMaxTap() != 500 ||
		first.GetTerminal() != "terminals/aa00000000000000" || len(first.GetTapDigest()) != 32 ||
		first.GetValidUntilTime().GetSeconds() != int64(p.ValidUntil) || first.GetMode() != typev1.Mode_MODE_LIVE {
		t.Errorf("the first answer is %v", first)
	}
	if r := got[2].GetReason(); r != authv1.OfflineReason_OFFLINE_REASON_BAD_MAC || got[2].GetDevice() != "" {
		t.Errorf("nonsense is answered with %v", got[2])
	}
}

func TestAWearerReleasesTheirOwnBandOnly(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	ann, eve, b := f.wearer("ann"), f.wearer("eve"), f.band(1)
	f.claim(ann, b)
	in := &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_UNBIND, Subject: &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: b.UID.String()},
		MerchantUid: make([]byte, 16), IntentUid: make([]byte, 16), RequestId: f.requestID(),
	}
	_, err := eve.CreateChallenge(t.Context(), in)
	want(t, err, fault.NotFound, "DEVICE_NOT_FOUND")
	c, err := ann.CreateChallenge(t.Context(), in)
	must(t, err)
	if len(c.GetRequirements()) != 3 {
		t.Errorf("it asks for %v", c.GetRequirements())
	}
	d, err := ann.VerifyResponse(t.Context(), &authv1.VerifyResponseRequest{Challenge: c.GetName(), ResponseFrame: f.answer(b, c.GetChallengeFrame())})
	must(t, err)
	if len(d.GetResultFrame()) == 0 || d.GetAssertion() != "" || f.registry.Get(b.UID).Account != "" {
		t.Errorf("the decision is %v", d)
	}
}

func TestATerminalFollowsTheSignedDenyList(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	ann, b := f.wearer("ann"), f.band(1)
	f.claim(ann, b)
	_, p := f.refill(ann, b)
	stream, err := f.terminal().StreamDenyList(t.Context(), &authv1.StreamDenyListRequest{})
	must(t, err)
	first, err := stream.Recv()
	must(t, err)
	if len(first.GetEntries()) != 0 || first.GetUpToNumber() != 0 || first.GetSignedList() == "" {
		t.Errorf("the list begins with %v", first)
	}
	d := f.registry.Get(b.UID)
	d.Block = challenge.Suspended
	f.registry.Put(d)
	must(t, f.taps.Review(t.Context(), f.clock.Now))
	next, err := stream.Recv()
	must(t, err)
	if len(next.GetEntries()) != 1 || !bytes.Equal(next.GetEntries()[0].GetAlias(), p.Alias[:]) || next.GetUpToNumber() != 1 {
		t.Errorf("the addition is %v", next)
	}
	document, err := f.ring.JWKS()
	must(t, err)
	var set jose.JSONWebKeySet
	must(t, json.Unmarshal(document, &set))
	jws, err := jose.ParseSignedCompact(next.GetSignedList(), []jose.SignatureAlgorithm{jose.EdDSA})
	must(t, err)
	payload, err := jws.Verify(set.Key(jws.Signatures[0].Protected.KeyID)[0])
	must(t, err)
	if text := string(payload); !strings.Contains(text, hex.EncodeToString(p.Alias[:])) || !strings.Contains(text, `"up_to":1`) {
		t.Errorf("what is signed is %s", text)
	}
	// Behind the last number there is nothing but the word that there is nothing.
	stream, err = f.terminal().StreamDenyList(t.Context(), &authv1.StreamDenyListRequest{AfterNumber: 1})
	must(t, err)
	if last, err := stream.Recv(); err != nil || len(last.GetEntries()) != 0 || last.GetUpToNumber() != 1 {
		t.Errorf("behind the last: %v, %v", last, err)
	}
}
