package sdk

import (
	"crypto/tls"
	"testing"
)

func TestTokensAreNotSentToAnotherMachineInClear(t *testing.T) {
	local := Endpoints{Devices: "127.0.0.1:1", Auth: "localhost:2", Payments: "[::1]:3", Notify: "127.0.0.1:4"}
	far := local
	far.Payments = "payments.example:443"
	for name, c := range map[string]struct {
		at   Endpoints
		opts []Option
		ok   bool
	}{
		"this machine":           {local, []Option{WithTokens(StaticToken("t"))}, true},
		"another machine":        {far, []Option{WithTokens(StaticToken("t"))}, false},
		"another, with TLS":      {far, []Option{WithTokens(StaticToken("t")), WithTLS(&tls.Config{MinVersion: tls.VersionTLS13})}, true},
		"another, without token": {far, nil, true},
		"no port":                {Endpoints{Devices: "nonsense"}, []Option{WithTokens(StaticToken("t"))}, false},
	} {
		client, err := Dial(c.at, c.opts...)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if client != nil {
			_ = client.Close()
		}
	}
}
