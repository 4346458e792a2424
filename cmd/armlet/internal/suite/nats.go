package suite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsReadyWithin is how long the embedded server may take to start; JetStream
// first reads what it kept.
const natsReadyWithin = 30 * time.Second

// broker is the embedded NATS server.
type broker struct {
	srv       *server.Server
	passwords map[string]string // account → password of its only static user
}

// startNATS starts the server from its configuration file, the same kind of file
// that an external server is given.
func startNATS(file string, passwords map[string]string, log *slog.Logger) (*broker, error) {
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		return nil, fmt.Errorf("the NATS configuration %s: %w", file, err)
	}
	opts.NoSigs = true
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	srv.SetLoggerV2(natsLog{log.With("service", "nats")}, false, false, false)
	go srv.Start()
	if !srv.ReadyForConnections(natsReadyWithin) {
		srv.Shutdown()
		return nil, errors.New("NATS did not start within 30 seconds; another process may hold its folder")
	}
	return &broker{srv, passwords}, nil
}

// connect gives a service a connection to its account without the network.
func (b *broker) connect(_ context.Context, account string) (*nats.Conn, error) {
	password, ok := b.passwords[account]
	if !ok {
		return nil, fmt.Errorf("there is no NATS account %q", account)
	}
	return nats.Connect("", nats.InProcessServer(b.srv), nats.UserInfo(strings.ToLower(account), password),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.Name("armlet "+account))
}

// reload makes the server read its configuration file again.
func (b *broker) reload(context.Context) error { return b.srv.Reload() }

// stop shuts the server down and waits until its files are closed.
func (b *broker) stop() {
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}

// natsLog writes the server's log into ours. Its notices are our debug lines: at
// every start there are dozens.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Warnf leaves out the advice against passwords in the configuration: ours are
// random, made at the first start, and stand in a file that only its owner reads.
func (l natsLog) Warnf(format string, v ...any) {
	if text := fmt.Sprintf(format, v...); !strings.HasPrefix(text, "Plaintext passwords detected") {
		l.log.Warn(text)
	}
}

func (l natsLog) Fatalf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }
func (l natsLog) Errorf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }
func (l natsLog) Debugf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l natsLog) Tracef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
