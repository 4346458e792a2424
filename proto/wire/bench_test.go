package wire_test

import (
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
)

// BenchmarkVerifyResponse is the check alone, with the keys at hand.
func BenchmarkVerifyResponse(b *testing.B) {
	_, devices := load(b)
	for _, d := range devices {
		b.Run(d.Suite.String(), func(b *testing.B) {
			c := must(wire.ParseChallengeBody(d.Challenge))(b)
			r, auth, err := wire.ParseResponse(join(d.ResponseBody, d.ResponseAuth))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := wire.VerifyResponse(d.verifier, d.uid, c, r, auth); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifyFromMasterKey is what the platform does for one tap: parse
// both frames, derive the device's keys or parse its public key, and verify.
func BenchmarkVerifyFromMasterKey(b *testing.B) {
	v, devices := load(b)
	pmk := key(b, v.Params.PMK)
	for _, d := range devices {
		b.Run(d.Suite.String(), func(b *testing.B) {
			frame := join(d.ResponseBody, d.ResponseAuth)
			b.ReportAllocs()
			for b.Loop() {
				c := must(wire.ParseChallengeBody(d.Challenge))(b)
				r, auth, err := wire.ParseResponse(frame)
				if err != nil {
					b.Fatal(err)
				}
				verifier := fromMasterKey(b, v, pmk, d)
				if err := wire.VerifyResponse(verifier, d.uid, c, r, auth); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func fromMasterKey(b *testing.B, v vectors, pmk wire.Key, d device) wire.Verifier {
	b.Helper()
	if !d.Suite.Symmetric() {
		_, public := privateKey(b, v, d.Suite)
		return must(wire.ParseCredential(d.Suite, public))(b).Verifier()
	}
	binding := wire.BindingID(v.Params.BindingID)
	dev := must(wire.DeriveDeviceKey(pmk, d.uid, *v.Params.Epoch, d.Suite))(b)
	bind := must(wire.DeriveBindKey(d.Suite, dev, d.uid, binding, wire.Nonce(v.Params.BindNonce)))(b)
	keys := must(wire.DeriveSessionKeys(d.Suite, bind, d.uid, binding))(b)
	return must(wire.NewVerifier(d.Suite, keys))(b)
}

func BenchmarkVerifyChallengeTag(b *testing.B) {
	_, devices := load(b)
	for _, d := range devices {
		b.Run(d.Suite.String(), func(b *testing.B) {
			c, tag, err := wire.ParseChallenge(join(d.Challenge, d.ChallengeTag))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := wire.VerifyChallengeTag(d.keys.Chal, d.uid, c, tag); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
