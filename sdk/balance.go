package sdk

import (
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/health" // lets a client follow a server's health, which balancing asks for
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// repeating goes round the replicas of a service and repeats a call that none could take. Every call may be repeated: it
// reads, or its request_id or content makes the repetition the same call. When most calls fail the repetitions stop.
const repeating = `"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]
	}}],
	"retryThrottling": {"maxTokens": 50, "tokenRatio": 0.5}`

// one is for a single server, which is called whatever it says about its health; several calls only those that are ready.
const (
	one     = `{` + repeating + `}`
	several = `{` + repeating + `, "healthCheckConfig": {"serviceName": ""}}`
)

// resolve makes a target of "host:port,host:port" one that grpc understands.
func resolve(target string) (string, []grpc.DialOption, error) {
	switch {
	case strings.Contains(target, "://"):
		return target, []grpc.DialOption{grpc.WithDefaultServiceConfig(several)}, nil
	case !strings.Contains(target, ","):
		return target, []grpc.DialOption{grpc.WithDefaultServiceConfig(one)}, nil
	}
	var state resolver.State
	for addr := range strings.SplitSeq(target, ",") {
		addr = strings.TrimSpace(addr)
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" {
			return "", nil, errors.New("a list of addresses wants host:port,host:port")
		}
		// Each replica is verified by its own name.
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr, ServerName: host}}})
	}
	list := manual.NewBuilderWithScheme("list")
	list.InitialState(state)
	return "list:///replicas", []grpc.DialOption{grpc.WithResolvers(list), grpc.WithDefaultServiceConfig(several)}, nil
}
