package cli_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/armlet-pay/armlet/sdk"
)

func TestHealthIsThatOfAllFourServices(t *testing.T) {
	up := newShell(t)
	if out, _ := up.run(0, "health"); strings.Count(out, "SERVING") != 4 {
		t.Errorf("got %s", out)
	}
	text, err := os.ReadFile(filepath.Join(up.dir, "endpoints.json"))
	must(t, err)
	var at sdk.Endpoints
	must(t, json.Unmarshal(text, &at))

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	state := health.NewServer()
	state.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, state)
	go func() { _ = server.Serve(listener) }()
	draining := at
	draining.Payments = listener.Addr().String()
	_, errs := reaching(t, draining).run(1, "health")
	if !strings.Contains(errs, "payments is NOT_SERVING") {
		t.Errorf("got %s", errs)
	}
	replicas := at
	replicas.Payments += "," + listener.Addr().String()
	out, errs := reaching(t, replicas).run(1, "health")
	if strings.Count(out, "SERVING") != 5 || !strings.Contains(errs, "payments "+listener.Addr().String()+" is NOT_SERVING") {
		t.Errorf("of two replicas: %s%s", out, errs)
	}
	server.Stop()
	reaching(t, draining).run(4, "health")
}

// reaching is a shell whose suite is at these endpoints.
func reaching(t *testing.T, at sdk.Endpoints) shell {
	t.Helper()
	s := shell{t, t.TempDir()}
	text, err := json.Marshal(at)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s.dir, "endpoints.json"), text, 0o600))
	return s
}
