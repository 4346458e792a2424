package deviceregistry_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/testkit"
	deviceregistry "github.com/armlet-pay/armlet/services/device-registry"
)

// processEnv makes the test program be the service's program, so that a test can kill it as an operating system would.
const processEnv = "DEVICE_REGISTRY_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(processEnv) == "" {
		os.Exit(m.Run())
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the test program does
		os.Exit(1)
	}()
	run.Main(deviceregistry.Name, deviceregistry.DefaultConfig(), deviceregistry.New, deviceregistry.Migrations)
}

const issuer = "https://auth.test"

// registryProcess is a device registry of its own, that can be killed and started again on the same database and address.
type registryProcess struct {
	t    testing.TB
	env  []string
	addr string
	cmd  *exec.Cmd
	log  *strings.Builder
	key  ed25519.PrivateKey
}

func startRegistry(t testing.TB, dbURL string) *registryProcess {
	t.Helper()
	p := &registryProcess{t: t, addr: testkit.Addr(t), key: ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))}
	keys := httptest.NewServer(http.HandlerFunc(p.publish))
	t.Cleanup(keys.Close)
	p.env = append(os.Environ(), processEnv+"=1")
	for key, value := range map[string]string{
		"LISTEN": p.addr, "HTTP_LISTEN": "127.0.0.1:0", "DB_URL": dbURL, "NATS_URL": "nats://127.0.0.1:1", "TOKEN_ISSUER": issuer,
		"JWKS_URL": keys.URL + "/.well-known/jwks.json", "LOG_LEVEL": "error",
	} {
		p.env = append(p.env, "ARMLET_DEVICE_REGISTRY_"+key+"="+value)
	}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *registryProcess) start() {
	p.t.Helper()
	p.cmd, p.log = exec.Command(os.Args[0]), &strings.Builder{}
	p.cmd.Env, p.cmd.Stderr = p.env, p.log
	if _, err := p.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the process with SIGKILL, wherever it is.
func (p *registryProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	if p.t.Failed() {
		p.t.Logf("the registry said:\n%s", p.log)
	}
}

// publish is auth as far as the registry asks it: its keys, and that nothing was taken back.
func (p *registryProcess) publish(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == rpc.RevocationsPath {
		_ = json.NewEncoder(w).Encode(rpc.Revocations{})
		return
	}
	public := base64.RawURLEncoding.EncodeToString(p.key.Public().(ed25519.PublicKey))
	_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, public)
}

// token is an access token of the partner acme.
func (p *registryProcess) token(context.Context) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	payload, err := json.Marshal(map[string]any{
		"iss": issuer, "sub": "acme-1", "aud": "armlet", "iat": now, "exp": now + 300, "role": "partner", "partner": "acme", "partner_no": 7,
		"scope": "devices.read devices.provision",
	})
	text := encode([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"k"}`)) + "." + encode(payload)
	return text + "." + encode(ed25519.Sign(p.key, []byte(text))), err
}

// dial connects acme to the address, which is the registry's or a line to it.
func (p *registryProcess) dial(addr string) *grpc.ClientConn {
	p.t.Helper()
	conn, err := rpc.Dial(addr, rpc.DialConfig{Token: p.token})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// line is a network line that can be cut: both ends see what they see when the process at the other end is killed.
type line struct {
	net.Listener
	to string

	mu    sync.Mutex
	conns []net.Conn
}

func newLine(t testing.TB, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: to}
	t.Cleanup(func() {
		_ = l.Close()
		l.cut()
	})
	go l.serve()
	return l
}

func (l *line) serve() {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				_, _ = io.Copy(way[0], way[1])
				_, _ = way[0].Close(), way[1].Close()
			}()
		}
	}
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	l.conns = nil
}
