package wire_test

import (
	"fmt"
	"log"

	"github.com/armlet-pay/armlet/proto/wire"
)

// One tap with suite 1: the platform asks, the band checks and answers, the
// platform checks the answer against the challenge it stored.
func Example() {
	// Both sides derive the same keys, the platform from the partner's master key
	// and the band from the device key that the factory injected.
	pmk, err := wire.NewKey([]byte("thirty-two bytes of randomness.."))
	if err != nil {
		log.Fatal(err)
	}
	uid := wire.NewRangeUID(42, 7, 1000)
	binding, bindNonce := wire.BindingID{0xb1}, wire.Nonce{0x10}
	deviceKey, err := wire.DeriveDeviceKey(pmk, uid, 1, wire.SuiteHMAC)
	if err != nil {
		log.Fatal(err)
	}
	bindKey, err := wire.DeriveBindKey(wire.SuiteHMAC, deviceKey, uid, binding, bindNonce)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := wire.DeriveSessionKeys(wire.SuiteHMAC, bindKey, uid, binding)
	if err != nil {
		log.Fatal(err)
	}

	// The platform asks for ¥12.00.
	stored := wire.Challenge{
		Suite: wire.SuiteHMAC, Purpose: wire.PurposePay, Require: wire.RequireOnWrist | wire.RequireGesture,
		Nonce: wire.Nonce{0xa0}, BindingID: binding, Amount: 1200, Currency: "CNY", Exponent: 2, MCC: 4111,
		IssuedAt: 1767225600, TTL: 30, Epoch: 1, Display: wire.FitDisplay("Shuashua Bus"),
	}
	down, err := wire.SealChallenge(keys.Chal, uid, stored)
	if err != nil {
		log.Fatal(err)
	}

	// The band checks the tag before it shows anything, then answers.
	asked, tag, err := wire.ParseChallenge(down)
	if err != nil {
		log.Fatal(err)
	}
	if err := wire.VerifyChallengeTag(keys.Chal, uid, asked, tag); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s %d.%02d %s\n", asked.Purpose, asked.Display, asked.Amount/100, asked.Amount%100, asked.Currency)
	signer, err := wire.NewSigner(wire.SuiteHMAC, keys)
	if err != nil {
		log.Fatal(err)
	}
	up, err := wire.SealResponse(signer, uid, asked, wire.Response{
		Suite: asked.Suite, Status: wire.StatusOK, Flags: wire.FlagOnWrist | wire.FlagGesture, Counter: 42, MinRTT: wire.NoRTT,
	})
	if err != nil {
		log.Fatal(err)
	}

	// The platform verifies with the challenge it stored.
	answer, auth, err := wire.ParseResponse(up)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := wire.NewVerifier(wire.SuiteHMAC, keys)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Status, answer.Flags, "unmet:", stored.Require.Unmet(answer.Flags))
	fmt.Println("verified:", wire.VerifyResponse(verifier, uid, stored, answer, auth) == nil)
	stored.Amount = 120000
	fmt.Println("another amount:", wire.VerifyResponse(verifier, uid, stored, answer, auth))
	fmt.Println("keys print as", keys)
	// Output:
	// PAY: Shuashua Bus 12.00 CNY
	// OK ON_WRIST|GESTURE unmet: NONE
	// verified: true
	// another amount: wire: authenticator does not verify
	// keys print as ***
}

// A device identity has a text form for resource names and one for QR codes.
func ExampleUID() {
	uid := wire.NewRangeUID(42, 7, 1000)
	fmt.Println(uid)
	fmt.Println(uid.QR())
	again, err := wire.ParseQR(uid.QR())
	fmt.Println(again == uid, err, again.PartnerNo(), again.LotNo(), again.Serial())
	// Output:
	// 000002m000003g0000000000z8
	// 000002m000003g0000000000z8r
	// true <nil> 42 7 1000
}
