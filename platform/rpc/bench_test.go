package rpc_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/armlet-pay/armlet/platform/rpc"
)

// BenchmarkVerify shows what the cache of verified tokens saves.
func BenchmarkVerify(b *testing.B) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: pub, KeyID: "k1", Algorithm: "EdDSA"}}})
	}))
	defer srv.Close()
	now := time.Now().Unix()
	input := b64(m{"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}) + "." + b64(m{
		"iss": "i", "aud": "a", "sub": "s", "iat": now, "exp": now + 3600, "role": "operator", "scope": "a b c",
	})
	token := input + "." + b64(ed25519.Sign(priv, []byte(input)))
	v := rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: "i", Audience: "a", KeysURL: srv.URL})

	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signature alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.VerifyJWS(b.Context(), token, "at+jwt"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCall compares an in-process call through everything with one to a bare gRPC server.
func BenchmarkCall(b *testing.B) {
	run := func(b *testing.B, cc *grpc.ClientConn) {
		b.Helper()
		defer func() { _ = cc.Close() }()
		b.ReportAllocs()
		for b.Loop() {
			if err := cc.Invoke(b.Context(), echo, wrapperspb.String("x"), new(wrapperspb.StringValue)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("full", func(b *testing.B) {
		srv, err := rpc.NewServer(rpc.ServerConfig{Service: "test", Policy: open()})
		if err != nil {
			b.Fatal(err)
		}
		srv.GRPC().RegisterService(handlers{}.desc(), nil)
		n := rpc.NewNetwork()
		l := n.Listen("test")
		go func() { _ = srv.Serve(l) }()
		defer srv.Stop(b.Context())
		cc, err := n.Dial("friend", "test", rpc.DialConfig{})
		if err != nil {
			b.Fatal(err)
		}
		run(b, cc)
	})
	b.Run("bare", func(b *testing.B) {
		srv := grpc.NewServer(grpc.UnaryInterceptor(passOn))
		srv.RegisterService(handlers{}.desc(), nil)
		n := rpc.NewNetwork()
		l := n.Listen("test")
		go func() { _ = srv.Serve(l) }()
		defer srv.Stop()
		cc, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(rpc.NetworkDialer(n, "friend", "test")))
		if err != nil {
			b.Fatal(err)
		}
		run(b, cc)
	})
}

func passOn(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	return next(ctx, req)
}
