package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
)

// Where a finding becomes a warning and where a failure; certificateSoon and outboxFail are those of the alert rules too.
const (
	certificateSoon = 14 * 24 * time.Hour
	clockWarn       = time.Second
	clockFail       = 5 * time.Second
	outboxWarn      = 10 * time.Second
	outboxFail      = time.Minute
)

const (
	checkServing = "serving"
	askAgain     = 250 * time.Millisecond
)

// replica is one process of a service.
type replica struct {
	service string
	label   string // the service, with the address where there are several
	address string // host:port
	name    string // what its certificate has to be for
}

func (r replica) finding(check string) Finding { return Finding{Part: r.label, Check: check} }

// replicas are all processes behind the addresses.
func (d Deployment) replicas(ctx context.Context) (all []replica, bad []Finding) {
	for _, s := range [...]struct{ name, targets string }{
		{"device-registry", d.At.Devices}, {"auth", d.At.Auth}, {"payments", d.At.Payments}, {"notify", d.At.Notify},
	} {
		var of []replica
		for target := range strings.SplitSeq(s.targets, ",") {
			found, err := d.behind(ctx, strings.TrimSpace(target))
			if err != nil {
				bad = append(bad, Finding{Part: s.name, Check: "address"}.fail("correct it in endpoints.json, or the name server", "%s: %v", target, err))
			}
			of = append(of, found...)
		}
		for _, r := range of {
			r.service, r.label = s.name, s.name
			if len(of) > 1 {
				r.label += " " + r.address
			}
			all = append(all, r)
		}
	}
	return all, bad
}

func (d Deployment) behind(ctx context.Context, target string) ([]replica, error) {
	name, byName := strings.CutPrefix(target, "dns:///")
	host, port, err := net.SplitHostPort(name)
	if err != nil || !byName {
		return []replica{{address: target, name: host}}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.Patience)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	var all []replica
	for _, ip := range ips {
		all = append(all, replica{address: net.JoinHostPort(ip, port), name: host})
	}
	return all, nil
}

// replica makes the checks of one process.
func (d Deployment) replica(ctx context.Context, r replica) ([]Finding, *statusv1.Status) {
	ctx, cancel := context.WithTimeout(ctx, d.Patience)
	defer cancel()
	findings := []Finding{d.certificate(ctx, r)}
	transport := insecure.NewCredentials()
	if d.TLS != nil {
		config := d.TLS.Clone()
		config.ServerName = r.name
		transport = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(r.address, grpc.WithTransportCredentials(transport))
	if err != nil {
		return append(findings, r.finding(checkServing).fail("correct the address", "%v", err)), nil
	}
	defer func() { _ = conn.Close() }()
	serving := d.serving(ctx, r, conn)
	findings = append(findings, serving)
	if serving.State == Fail {
		return findings, nil
	}
	st, more := d.status(ctx, r, conn)
	return append(findings, more...), st
}

func (d Deployment) serving(ctx context.Context, r replica, conn *grpc.ClientConn) Finding {
	f := r.finding(checkServing)
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	switch {
	case err != nil:
		return f.fail("start it, or look why it cannot be reached: its log, `"+r.service+" --check`", "%s", status.Convert(err).Message())
	case answer.GetStatus() != healthv1.HealthCheckResponse_SERVING:
		return f.warn("its log says what it waits for; `"+r.service+" --check` tests all it needs", "it says %s", answer.GetStatus())
	}
	return f.ok("at %s", r.address)
}

// certificate looks at the whole chain that the service shows.
func (d Deployment) certificate(ctx context.Context, r replica) Finding {
	f := r.finding("certificate")
	if d.TLS == nil {
		return f.ok("none, calls are in clear text within this machine")
	}
	config := d.TLS.Clone()
	config.ServerName, config.NextProtos = r.name, []string{"h2"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return refusedCertificate(f, err)
	}
	defer func() { _ = conn.Close() }()
	secure, ok := conn.(*tls.Conn)
	if !ok || len(secure.ConnectionState().VerifiedChains) == 0 {
		return f.fail("give --tls-ca", "nobody vouches for it")
	}
	first := secure.ConnectionState().VerifiedChains[0][0]
	for _, c := range secure.ConnectionState().VerifiedChains[0] {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	left := first.NotAfter.Sub(d.Now())
	text := fmt.Sprintf("%s ends %s, in %d days", first.Subject.CommonName, first.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24))
	if left < certificateSoon {
		return f.warn("renew it: `armlet pki services`; services take it up without a restart", "%s", text)
	}
	return f.ok("%s", text)
}

func refusedCertificate(f Finding, err error) Finding {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return f.fail("renew it: `armlet pki services`; services take it up without a restart",
			"it is valid from %s to %s", invalid.Cert.NotBefore.UTC().Format(time.DateTime), invalid.Cert.NotAfter.UTC().Format(time.DateTime))
	case errors.As(err, &name):
		return f.fail("make one for the name that callers use: docs/operations.md, Certificates", "%v", name)
	case errors.As(err, &unknown):
		return f.fail("is --tls-ca this deployment's authority?", "the authority in --tls-ca does not vouch for it")
	}
	return f.fail("start it, or look why it cannot be reached", "%v", err)
}

// status asks the service how it is doing.
func (d Deployment) status(ctx context.Context, r replica, conn *grpc.ClientConn) (*statusv1.Status, []Finding) {
	f := r.finding("status")
	token, err := d.Tokens.Token(ctx)
	if err != nil {
		return nil, []Finding{f.fail("see auth", "no operator's token could be had: %v", err)}
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	asked := d.Now()
	client := statusv1.NewStatusServiceClient(conn)
	st, err := client.GetStatus(ctx, &statusv1.GetStatusRequest{})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return nil, []Finding{f.warn("upgrade it", "an older version, which cannot say how it is doing")}
	default:
		return nil, []Finding{f.fail("its log says more", "%s", status.Convert(err).Message())}
	}
	findings := []Finding{d.clock(r, st, asked), schema(r, st), outbox(r, st)}
	if r.service == "notify" {
		st = d.settled(ctx, client, st)
	}
	return st, findings
}

// settled asks again for half of the patience while streams are missing: they are being made, or elect a leader.
func (d Deployment) settled(ctx context.Context, client statusv1.StatusServiceClient, st *statusv1.Status) *statusv1.Status {
	ctx, cancel := context.WithTimeout(ctx, d.Patience/2)
	defer cancel()
	for len(missing(st)) > 0 && st.GetStreamsProblem() == "" {
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return st
		}
		if next, err := client.GetStatus(ctx, &statusv1.GetStatusRequest{}); err == nil {
			st = next
		}
	}
	return st
}

// clock compares within half of what the call took.
func (d Deployment) clock(r replica, st *statusv1.Status, asked time.Time) Finding {
	took := d.Now().Sub(asked)
	off := st.GetTime().AsTime().Sub(asked.Add(took / 2))
	sure := off.Abs() - took/2
	f := r.finding("clock")
	text := fmt.Sprintf("%+.3f s from this machine's, within %.3f s", off.Seconds(), (took / 2).Seconds())
	switch do := "set one of both clocks: is NTP running on both machines?"; {
	case sure > clockFail:
		return f.fail(do, "%s", text)
	case sure > clockWarn:
		return f.warn(do, "%s", text)
	}
	return f.ok("%s", text)
}

func schema(r replica, st *statusv1.Status) Finding {
	f := r.finding("migrations")
	switch applied, known := st.GetAppliedMigrations(), st.GetKnownMigrations(); {
	case applied < known:
		return f.fail("run `"+r.service+" migrate`", "the database has %d of %d", applied, known)
	case applied > known:
		return f.warn("finish the upgrade: replace this replica by the newer program", "the database has %d, this program knows %d", applied, known)
	default:
		return f.ok("all %d", known)
	}
}

func outbox(r replica, st *statusv1.Status) Finding {
	f := r.finding("outbox")
	age := st.GetOutboxAge().AsDuration()
	text := fmt.Sprintf("%d events wait to be published, the oldest for %s", st.GetOutboxEvents(), age.Round(time.Millisecond))
	switch do := "is NATS up? docs/runbook.md, OutboxOld"; {
	case age > outboxFail:
		return f.fail(do, "%s", text)
	case age > outboxWarn:
		return f.warn(do, "%s", text)
	case st.GetOutboxEvents() == 0:
		return f.ok("empty")
	}
	return f.ok("%s", text)
}
