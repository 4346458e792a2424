package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// A service that is given a certificate by the installation's authority needs no key of its own.
func ExampleClientCertificate() {
	at := sdk.Endpoints{Devices: "devices.example:443", Auth: "auth.example:443", Payments: "payments.example:443", Notify: "notify.example:443"}
	config, err := sdk.ClientTLS("acme.crt", "acme.key", "authority.crt")
	if err != nil {
		fmt.Println("first have the operator make the certificate")
		return
	}
	tokens := sdk.ClientCertificate("https://auth.example:8443/oauth2/token", "acme-backend", config)
	client, err := sdk.Dial(at, sdk.WithTLS(config), sdk.WithTokens(tokens))
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: first have the operator make the certificate
}

// A partner's own service believes a tap without asking auth for it.
func ExamplePresenceVerifier() {
	door := &sdk.PresenceVerifier{
		Keys: &sdk.KeySet{URL: "https://auth.example/.well-known/jwks.json"}, Issuer: "https://auth.example", Partner: "partners/acme",
	}
	_, err := door.Verify(context.Background(), "not an assertion")
	fmt.Println(errors.Is(err, sdk.ErrSignature))
	// Output: true
}

// The wearer's phone carries a partner's challenge to the band, and the partner's service learns who is there.
func ExamplePresenceVerifier_tap() {
	enter := func(ctx context.Context, phone *virtual.Phone, partner *sdk.Client, door *sdk.PresenceVerifier, id uuid.UUID) error {
		visit := uuid.New()
		assertion, err := phone.Prove(ctx, partner, id, visit, "Open door?")
		if err != nil {
			return err
		}
		who, err := door.Verify(ctx, assertion)
		if err != nil {
			return err
		}
		if who.Intent != visit.String() {
			return errors.New("this tap was for another visit")
		}
		fmt.Println("welcome", who.Account)
		return nil
	}
	_ = enter
}

// A gate without a connection refuses the grants of bands that were lost, and clears its taps in the evening.
func ExampleDenyList() {
	denied := &sdk.DenyList{Keys: &sdk.KeySet{URL: "https://auth.example/.well-known/jwks.json"}, Issuer: "https://auth.example"}
	gate := &virtual.Gate{Name: "terminals/00000000000000aa", CategoryCode: 4111, Currency: "CNY", Denied: denied.Denied}
	night := func(ctx context.Context, terminal *virtual.Terminal) error {
		go func() { _ = denied.Follow(ctx, terminal.Client.Auth) }()
		var band *virtual.Band // whoever comes
		tap, err := gate.Tap(band, 300)
		if err != nil {
			return err
		}
		_, err = terminal.Submit(ctx, tap)
		return err
	}
	_ = night
	fmt.Println(denied.Number())
	// Output: 0
}
