package rpc

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc/credentials"
)

// serverCreds let one server serve in-process and TCP listeners at once: an in-process connection is recognised by its
// type, which nothing that comes over TCP can have; everything else does TLS, or is plaintext when there is no TLS.
type serverCreds struct {
	tls credentials.TransportCredentials
}

func newServerCreds(cfg *tls.Config) serverCreds {
	if cfg == nil {
		return serverCreds{}
	}
	return serverCreds{tls: credentials.NewTLS(cfg)}
}

// channelInfo is what the handshake learned about a connection; it becomes the peer's AuthInfo.
type channelInfo interface {
	credentials.AuthInfo
	channelCaller() *Caller
}

type plainInfo struct {
	credentials.CommonAuthInfo
	caller *Caller
}

func (plainInfo) AuthType() string         { return "plain" }
func (i plainInfo) channelCaller() *Caller { return i.caller }

type tlsInfo struct {
	credentials.TLSInfo
	caller *Caller
}

func (i tlsInfo) channelCaller() *Caller { return i.caller }

func (c serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if p, ok := raw.(*pipeConn); ok {
		info := plainInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
		if p.from != "" {
			info.caller = &Caller{Role: RoleService, ID: p.from}
		}
		return p, info, nil
	}
	if c.tls == nil {
		return raw, plainInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
	}
	conn, info, err := c.tls.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	ti, ok := info.(credentials.TLSInfo)
	if !ok {
		_ = conn.Close()
		return nil, nil, errors.New("rpc: the TLS handshake told nothing about the peer")
	}
	return conn, tlsInfo{TLSInfo: ti, caller: certCaller(ti.State)}, nil
}

func (serverCreds) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("rpc: these credentials are for servers")
}

func (c serverCreds) Info() credentials.ProtocolInfo {
	if c.tls != nil {
		return c.tls.Info()
	}
	return credentials.ProtocolInfo{SecurityProtocol: "plain"}
}

func (c serverCreds) Clone() credentials.TransportCredentials { return c }

func (serverCreds) OverrideServerName(string) error { return nil }

// spiffePrefix begins the URI SAN of every service's certificate; the name of the service follows.
const spiffePrefix = "spiffe://armlet/service/"

// certCaller reads the service's name from a client certificate that was verified against our own authority.
func certCaller(state tls.ConnectionState) *Caller {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	if name := serviceName(state.VerifiedChains[0][0]); name != "" {
		return &Caller{Role: RoleService, ID: name}
	}
	return nil
}

// serviceName is empty unless the certificate has exactly one URI SAN, as SPIFFE demands, of exactly our form.
func serviceName(cert *x509.Certificate) string { return nameIn(cert, spiffePrefix) }

func nameIn(cert *x509.Certificate, prefix string) string {
	if len(cert.URIs) != 1 {
		return ""
	}
	name, ok := strings.CutPrefix(cert.URIs[0].String(), prefix)
	if !ok || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return ""
	}
	return name
}

// clientPrefix begins the URI SAN of the certificate of a client that authenticates with TLS (RFC 8705); its id follows.
const clientPrefix = "spiffe://armlet/client/"

// CertificateClient is the id of the client that a certificate is for, empty when it is for none. The caller has verified
// the certificate against the installation's authority.
func CertificateClient(cert *x509.Certificate) string { return nameIn(cert, clientPrefix) }

// Thumbprint is the x5t#S256 of a certificate: the SHA-256 of its DER form in base64url (RFC 8705, section 3.1).
func Thumbprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// clientCreds are TLS by a configuration of ClientTLS, whose authority may change between handshakes.
type clientCreds struct {
	credentials.TransportCredentials
	cfg *tls.Config
}

func newClientCreds(cfg *tls.Config) credentials.TransportCredentials {
	if cfg.GetConfigForClient == nil {
		return credentials.NewTLS(cfg)
	}
	return clientCreds{credentials.NewTLS(cfg), cfg}
}

func (c clientCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	now, err := c.cfg.GetConfigForClient(nil)
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(now).ClientHandshake(ctx, authority, raw)
}

func (c clientCreds) Clone() credentials.TransportCredentials { return newClientCreds(c.cfg) }
