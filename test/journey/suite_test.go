// Package journey walks through the suite as its users do: by gRPC, HTTP and NATS
// only, against the all-in-one program and against four processes. With
// ARMLET_ENDPOINTS naming an endpoints.json (and operator.jwk.json beside it) the
// journeys run against a suite that is already there, with TLS where
// ARMLET_TLS_CA names its authority.
package journey

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/test/programs"
)

// deployment is a running suite.
type deployment struct {
	at       sdk.Endpoints
	operator sdk.Key
	options  []sdk.Option
	// transport is how a bare grpc connection is made; nil is clear text.
	transport credentials.TransportCredentials
	process   *programs.Process // the all-in-one program, nil for another deployment
	parts     *processes        // the four processes, nil for another deployment
	dir       string
}

var shared struct {
	sync.Mutex
	suite *deployment
	err   error
}

// suite is the deployment that most journeys share; each brings its own partner
// and accounts.
func suite(t testing.TB) *deployment {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.suite == nil {
		if file := os.Getenv("ARMLET_ENDPOINTS"); file != "" {
			shared.suite = existing(t, file)
		} else {
			dir, err := os.MkdirTemp("", "armlet-suite-") //nolint:usetesting // it outlives the test that needs it first
			must(t, err)
			shared.suite = up(t, dir)
		}
	}
	return shared.suite
}

// stopShared says whether the suite ended as it should.
func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.suite == nil || shared.suite.process == nil {
		return nil
	}
	return errors.Join(shared.suite.process.Stop(), os.RemoveAll(shared.suite.dir))
}

func existing(t testing.TB, file string) *deployment {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	d := &deployment{dir: filepath.Dir(file)}
	must(t, json.Unmarshal(text, &d.at))
	d.operator, err = sdk.LoadKey(filepath.Join(d.dir, "operator.jwk.json"))
	must(t, err)
	if ca := os.Getenv("ARMLET_TLS_CA"); ca != "" {
		d.secure(t, ca)
	}
	return d
}

// secure has clients connect with TLS to services that the authority vouches for.
func (d *deployment) secure(t testing.TB, ca string) {
	t.Helper()
	pem, err := os.ReadFile(ca)
	must(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("%s has no certificate", ca)
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	d.options, d.transport = []sdk.Option{sdk.WithTLS(config)}, credentials.NewTLS(config)
}

// up starts the all-in-one program on a folder and waits until it serves.
func up(t testing.TB, dir string) *deployment {
	t.Helper()
	file := filepath.Join(dir, "endpoints.json")
	_ = os.Remove(file)
	p := programs.Launch(t, nil, programs.Armlet(t), "up", "--data", dir, "--port-base", strconv.Itoa(testkit.PortBlock(t)), "-o", "json", "--verbose")
	deadline := time.Now().Add(60 * time.Second)
	for {
		if text, err := os.ReadFile(file); err == nil && json.Valid(text) {
			break
		}
		if p.Exited() || time.Now().After(deadline) {
			p.Kill()
			t.Fatalf("the suite did not come up:\n%s", p.Output())
		}
		time.Sleep(20 * time.Millisecond)
	}
	d := existing(t, file)
	d.process = p
	return d
}
