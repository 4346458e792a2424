package rpc

import (
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/health" // lets a client follow a server's health, which balancing asks for
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// repeating goes round the instances and repeats a call that none could take. Every call of this installation may be
// repeated: it reads, or has a request id or content that makes the repetition the same call. When most calls fail the
// repetitions stop, so that they do not bury what comes back.
const repeating = `"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]
	}}],
	"retryThrottling": {"maxTokens": 50, "tokenRatio": 0.5}`

// one is for a single instance, which is called whether it says that it is ready or not: there is no better one.
const one = `{` + repeating + `}`

// several is for more than one instance: only those that say they are ready are called.
const several = `{` + repeating + `, "healthCheckConfig": {"serviceName": ""}}`

// listScheme is the scheme of targets that are lists of addresses.
const listScheme = "list"

// resolve makes a target of "host:port,host:port,…" one that gRPC understands, and says how its instances are called.
func resolve(target string) (string, []grpc.DialOption, error) {
	switch {
	case strings.Contains(target, "://") && !strings.HasPrefix(target, "passthrough:"):
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
		// Each instance is verified by its own name.
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr, ServerName: host}}})
	}
	list := manual.NewBuilderWithScheme(listScheme)
	list.InitialState(state)
	return listScheme + ":///instances", []grpc.DialOption{grpc.WithResolvers(list), grpc.WithDefaultServiceConfig(several)}, nil
}
