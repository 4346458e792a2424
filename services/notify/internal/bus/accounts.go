package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Accounts keeps the NATS server's configuration file in step with the partners that need an account. A nil *Accounts
// keeps nothing.
type Accounts struct {
	path     string
	settings NATSSettings
	reload   func(ctx context.Context) error

	mu      sync.Mutex
	applied string
}

// NewAccounts makes an Accounts for the configuration file at path; reload makes the server read it again.
func NewAccounts(path string, settings NATSSettings, reload func(ctx context.Context) error) *Accounts {
	return &Accounts{path: path, settings: settings, reload: reload}
}

// Ensure gives each of the partners an account, and no other partner. They are listed under its lock, so that an older
// list never replaces a newer one.
func (a *Accounts) Ensure(ctx context.Context, list func(context.Context) ([]string, error)) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	partners, err := list(ctx)
	if err != nil {
		return err
	}
	settings := a.settings
	settings.Partners = partners
	if err := settings.Validate(); err != nil {
		return err
	}
	text := RenderNATS(settings)
	if text == a.applied {
		return nil
	}
	if err := writeFile(a.path, []byte(text)); err != nil {
		return fmt.Errorf("write the NATS configuration: %w", err)
	}
	// A service import whose export is new in the same reload is not wired before the next one.
	for range 2 {
		if err := a.reload(ctx); err != nil {
			return fmt.Errorf("reload the NATS configuration: %w", err)
		}
	}
	a.applied = text
	return nil
}

// Has reports whether the configuration as it was applied last has an account for the partner.
func (a *Accounts) Has(partner string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Contains(a.applied, quote(PartnerAccount(partner)))
}

// writeFile replaces a file at once or not at all, readable by its owner only: it holds passwords.
func writeFile(path string, text []byte) (err error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// reloadGather is how long the next server of a cluster is waited for, one that has just died among them.
const reloadGather = 500 * time.Millisecond

// SystemReload asks every server of the cluster that nc is connected to, as the system account's user, to read its configuration
// again. A server that is away reads it when it starts.
func SystemReload(nc *nats.Conn) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		servers, err := servers(ctx, nc)
		if err != nil {
			return err
		}
		for _, id := range servers {
			if err := reload(ctx, nc, id); err != nil {
				return err
			}
		}
		return nil
	}
}

// servers are the ids of all that answer.
func servers(ctx context.Context, nc *nats.Conn) (ids []string, err error) {
	if !nc.IsConnected() {
		return nil, nats.ErrDisconnected
	}
	sub, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.STATSZ", sub.Subject, nil); err != nil {
		return nil, err
	}
	for known := 1; len(ids) < known; {
		wait, cancel := context.WithTimeout(ctx, reloadGather)
		msg, err := sub.NextMsgWithContext(wait)
		cancel()
		if err != nil && len(ids) > 0 && ctx.Err() == nil {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("no NATS server answers on the system account: %w", err)
		}
		var answer struct {
			Server struct {
				ID string `json:"id"`
			} `json:"server"`
			Stats struct {
				Servers int `json:"active_servers"`
			} `json:"statsz"`
		}
		if err := json.Unmarshal(msg.Data, &answer); err != nil {
			return nil, fmt.Errorf("the answer of a NATS server: %w", err)
		}
		ids, known = append(ids, answer.Server.ID), max(known, answer.Stats.Servers)
	}
	return ids, nil
}

func reload(ctx context.Context, nc *nats.Conn, server string) error {
	msg, err := nc.RequestWithContext(ctx, "$SYS.REQ.SERVER."+server+".RELOAD", nil)
	if err != nil {
		return err
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return fmt.Errorf("the answer of the server: %w", err)
	}
	if answer.Error != nil {
		return fmt.Errorf("the server refused: %s", answer.Error.Description)
	}
	return nil
}
