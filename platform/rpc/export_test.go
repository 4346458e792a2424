package rpc

import (
	"context"
	"net"
)

// NetworkDialer lets a benchmark use the network without Dial's options.
func NetworkDialer(n *Network, from, to string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) { return n.connect(ctx, from, to) }
}

// Authorize is Rule.authorize.
func Authorize(r Rule, c Caller, method string) error { return r.authorize(&c, method) }
