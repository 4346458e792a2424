package journey

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/test/programs"
)

// calls has, for each service, a call that a service may make, which one, and one that may not.
var calls = map[string]struct {
	method   string
	request  proto.Message
	friend   string // empty: no service calls this one
	stranger string
}{
	"device-registry": {devicesv1.DeviceRegistryService_CheckDevice_FullMethodName, &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Account{Account: "accounts/nobody"}}, "auth", "payments"},
	"auth":            {authv1.AuthService_VerifyOfflineTaps_FullMethodName, &authv1.VerifyOfflineTapsRequest{}, "payments", "device-registry"},
	"payments":        {paymentsv1.PaymentsService_GetTrialBalance_FullMethodName, &paymentsv1.GetTrialBalanceRequest{}, "", "auth"},
	"notify":          {notifyv1.NotifyService_ConfirmRedemption_FullMethodName, &notifyv1.ConfirmRedemptionRequest{}, "payments", "auth"},
}

// certificatesAreRefused calls every service with certificates that are not good for it.
func certificatesAreRefused(t *testing.T, d *deployment) {
	t.Helper()
	own, other := d.parts.pki, testkit.PKI(t)
	uri := func(service string) *url.URL {
		return &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/service/" + service}
	}
	for service, c := range calls {
		caller := c.friend
		if caller == "" {
			caller = c.stranger
		}
		ask := func(cert, key string) error { return d.askAs(t, service, cert, key) }
		wantRefused(t, ask("", ""), codes.Unauthenticated, "CALLER_UNKNOWN")
		cert, key := own.Leaf("stranger-to-"+service, uri(c.stranger))
		wantRefused(t, ask(cert, key), codes.PermissionDenied, "CALLER_NOT_ALLOWED")
		cert, key = own.LeafUntil("late-for-"+service, uri(caller), time.Now().Add(-time.Minute))
		wantRefused(t, ask(cert, key), codes.Unavailable, "")
		cert, key = other.Leaf("foreign-to-"+service, uri(caller))
		wantRefused(t, ask(cert, key), codes.Unavailable, "")
		if c.friend == "" {
			continue
		}
		cert, key = own.Leaf("friend-of-"+service, uri(c.friend))
		switch err := ask(cert, key); status.Code(err) { // what it asks for may make no sense
		case codes.PermissionDenied, codes.Unauthenticated, codes.Unavailable:
			t.Errorf("%s does not listen to %s: %v", service, c.friend, err)
		}
	}
}

// askAs calls a service with a certificate, or with none, and gives its error; every call here has one.
func (d *deployment) askAs(t *testing.T, service, cert, key string) error {
	t.Helper()
	config := &tls.Config{RootCAs: d.roots(t), MinVersion: tls.VersionTLS13}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		must(t, err)
		// Also one that the server has not asked for: a client that means harm does not mind.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	cc, err := grpc.NewClient(d.parts.grpc[service], grpc.WithTransportCredentials(credentials.NewTLS(config)))
	must(t, err)
	defer func() { _ = cc.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return cc.Invoke(ctx, calls[service].method, calls[service].request, new(emptypb.Empty))
}

func (d *deployment) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(d.parts.pki.File)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots
}

// TestCertificatesAreRenewedUnderTaps replaces the certificate of every service while bands tap and programs connect anew.
func TestCertificatesAreRenewedUnderTaps(t *testing.T) {
	t.Parallel()
	d := startProcesses(t, func(dir, service string) string { return "sqlite:" + filepath.Join(dir, service+".db") })
	w := newWorld(t, d)
	certificatesAreRefused(t, d)
	load := w.load(2, true)
	fresh := w.connectAnew()
	load.untilMore(5)
	for _, service := range programs.Services {
		before := d.serial(t, service)
		d.parts.renew(service)
		d.parts.until(service+" shows its new certificate", func() error {
			if d.serial(t, service) == before {
				return context.DeadlineExceeded
			}
			return nil
		})
		load.untilMore(3)
	}
	fresh(3)
	load.stop()
	if n := len(w.capturedPayments()); n != int(load.acknowledged.Load()) {
		t.Errorf("%d payments of %d taps", n, load.acknowledged.Load())
	}
	w.booksBalance()
}

// renew replaces a service's certificate and key, one file after the other.
func (s *processes) renew(service string) {
	s.t.Helper()
	cert, key := s.pki.Leaf(service+"-renewed", &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/service/" + service})
	dir := filepath.Dir(cert)
	must(s.t, os.Rename(cert, filepath.Join(dir, service+".pem")))
	must(s.t, os.Rename(key, filepath.Join(dir, service+".key")))
}

// serial is the number of the certificate that a service shows now.
func (d *deployment) serial(t *testing.T, service string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", d.parts.grpc[service], &tls.Config{RootCAs: d.roots(t), MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}})
	must(t, err)
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// connectAnew has a program make new connections to every service, one after the other. The function waits for more rounds
// and ends it. No call may fail.
func (w *world) connectAnew() func(more int64) {
	t := w.t
	t.Helper()
	var rounds atomic.Int64
	var enough atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for ; !enough.Load(); rounds.Add(1) {
			client, err := sdk.Dial(w.d.at, append([]sdk.Option{sdk.WithTokens(w.tokens)}, w.d.options...)...)
			must(t, err)
			for service, call := range map[string]func() error{
				"device-registry": func() error {
					_, err := client.Devices.ListLots(callCtx(t), &devicesv1.ListLotsRequest{Parent: w.name})
					return err
				},
				"auth": func() error {
					_, err := client.Auth.GetPartner(callCtx(t), &authv1.GetPartnerRequest{Name: w.name})
					return err
				},
				"payments": func() error {
					_, err := client.Payments.ListPayments(callCtx(t), &paymentsv1.ListPaymentsRequest{})
					return err
				},
				"notify": func() error {
					_, err := client.Notify.ListCampaigns(callCtx(t), &notifyv1.ListCampaignsRequest{})
					return err
				},
			} {
				if err := call(); err != nil {
					t.Errorf("a new connection to %s: %v (%s)", service, err, sdk.Reason(err))
				}
			}
			_ = client.Close()
		}
	})
	return func(more int64) {
		want := rounds.Load() + more
		for deadline := time.Now().Add(time.Minute); rounds.Load() < want && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		}
		enough.Store(true)
		all.Wait()
	}
}
