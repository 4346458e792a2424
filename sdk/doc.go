// Package sdk is what a hardware maker or a wallet operator programs Armlet with:
// connections to the four services, access tokens, and the reason of an error.
//
// A program asks for tokens with its own key (RFC 7523) and calls the generated
// clients:
//
//	key, err := sdk.LoadKey("client.jwk.json")
//	client, err := sdk.Dial(endpoints, sdk.WithTokens(sdk.ClientCredentials(endpoints.TokenURL, "acme-backend", key)))
//	lots, err := client.Devices.ListLots(ctx, &devicesv1.ListLotsRequest{Parent: "partners/acme"})
//
// Package virtual, below it, has a band, a phone and a terminal made of software.
package sdk
