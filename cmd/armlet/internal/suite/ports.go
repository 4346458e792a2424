package suite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// ports are where the suite listens on one host.
type ports struct {
	host                                        string
	devices, auth, payments, notify, nats, http int
}

// Offsets from the base port.
const (
	offsetDevices  = 1
	offsetAuth     = 2
	offsetPayments = 3
	offsetNotify   = 4
	offsetNATS     = 22
	offsetHTTP     = 80
)

// choosePorts takes fixed ports above base, or free ones when base is 0. It holds
// all of them at once before letting go, so that no two are the same, and says
// which port is taken.
func choosePorts(host string, base int) (ports, error) {
	p := ports{host: host}
	var listen net.ListenConfig
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for _, want := range []struct {
		port   *int
		offset int
	}{
		{&p.devices, offsetDevices}, {&p.auth, offsetAuth}, {&p.payments, offsetPayments},
		{&p.notify, offsetNotify}, {&p.nats, offsetNATS}, {&p.http, offsetHTTP},
	} {
		number := 0
		if base != 0 {
			number = base + want.offset
		}
		l, err := listen.Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(number)))
		if err != nil {
			return ports{}, fmt.Errorf("port %d on %s is taken or not allowed; choose others with --port-base: %w", number, host, err)
		}
		held = append(held, l)
		at, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return ports{}, errors.New("the listener has no TCP address")
		}
		*want.port = at.Port
	}
	return p, nil
}

func (p ports) addr(port int) string { return net.JoinHostPort(p.host, strconv.Itoa(port)) }
