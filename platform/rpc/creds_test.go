package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"testing"
)

func TestOnlyAVerifiedCertificateOfOneServiceNamesIt(t *testing.T) {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	friend, other := uri("spiffe://armlet/service/friend"), uri("spiffe://armlet/service/other")
	state := func(verified bool, uris ...*url.URL) tls.ConnectionState {
		cert := &x509.Certificate{URIs: uris}
		s := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		if verified {
			s.VerifiedChains = [][]*x509.Certificate{{cert}}
		}
		return s
	}
	for name, c := range map[string]struct {
		state tls.ConnectionState
		want  string
	}{
		"one URI":              {state(true, friend), "friend"},
		"shown, not verified":  {state(false, friend), ""},
		"two services":         {state(true, friend, other), ""},
		"a service and a site": {state(true, friend, uri("https://example.test")), ""},
		"no name":              {state(true, uri("spiffe://armlet/service/")), ""},
		"upper case":           {state(true, uri("spiffe://armlet/service/Friend")), ""},
		"escaped":              {state(true, uri("spiffe://armlet/service/frie%6ed")), ""},
		"a port":               {state(true, uri("spiffe://armlet:1/service/friend")), ""},
		"no certificate":       {tls.ConnectionState{}, ""},
	} {
		got := ""
		if caller := certCaller(c.state); caller != nil {
			got = caller.ID
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// wrapped hides the type of a connection, as a middleman would.
type wrapped struct{ net.Conn }

func TestAnInProcessConnectionIsKnownByItsTypeAlone(t *testing.T) {
	client, server, err := pipe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	creds := newServerCreds(nil)
	for name, c := range map[string]struct {
		conn net.Conn
		want string
	}{
		"as a service": {&pipeConn{Conn: server, from: "friend"}, "friend"},
		"as nobody":    {&pipeConn{Conn: server}, ""},
		"wrapped":      {wrapped{&pipeConn{Conn: server, from: "friend"}}, ""},
		"another pipe": {server, ""},
	} {
		_, info, err := creds.ServerHandshake(c.conn)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if caller := info.(channelInfo).channelCaller(); caller != nil {
			got = caller.ID
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if _, _, err := creds.ClientHandshake(context.Background(), "", client); err == nil {
		t.Error("a client may use the server's side")
	}
}
