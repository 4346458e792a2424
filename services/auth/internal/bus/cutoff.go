package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/armlet-pay/armlet/platform/rpc"
)

const (
	// cutEvery is how often it is looked for news, and cutGather how long it is waited for the answers of several servers.
	cutEvery, cutGather = 200 * time.Millisecond, 250 * time.Millisecond
	// cutAgain is how long connections are looked at again after the last news: one may have been let in by a responder that
	// had not heard of it.
	cutAgain = 3 * time.Second
	// cutPage is how many connections of a server are listed at once.
	cutPage = 10_000
)

// Revoked tells what was taken back, as the list that all services read.
type Revoked func(ctx context.Context) (rpc.Revocations, error)

// CutOff ends partners' connections whose tokens were taken back. A NATS server asks about a connection once; from then on
// it is only known by the name that the responder gave it, so that says what it rests on.
type CutOff struct {
	sys     *nats.Conn
	revoked Revoked
	log     *slog.Logger
}

// NewCutOff makes a CutOff that speaks to the servers on a connection of the system account.
func NewCutOff(sys *nats.Conn, revoked Revoked, log *slog.Logger) *CutOff {
	return &CutOff{sys, revoked, log}
}

// Run cuts off until the context ends.
func (c *CutOff) Run(ctx context.Context) error {
	tick := time.NewTicker(cutEvery)
	defer tick.Stop()
	seen, until := int64(-1), time.Time{} // in the beginning all that is on the list is news
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		list, err := c.revoked(ctx)
		if err == nil {
			if list.Sequence > seen {
				seen, until = list.Sequence, time.Now().Add(cutAgain)
			}
			if time.Now().After(until) || len(list.Revoked) == 0 {
				continue
			}
			err = c.cut(ctx, list.Revoked)
		}
		if err != nil && ctx.Err() == nil {
			seen = -1
			c.log.WarnContext(ctx, "partners' connections could not be looked at; it is tried again", "error", err)
		}
	}
}

// connections is what a server answers to CONNZ.
type connections struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Data struct {
		Total       int `json:"total"`
		Connections []struct {
			ID      uint64 `json:"cid"`
			Account string `json:"account"`
			User    string `json:"authorized_user"`
		} `json:"connections"`
	} `json:"data"`
}

// cut asks all servers for their connections and ends those that rest on something which was taken back.
func (c *CutOff) cut(ctx context.Context, revoked []rpc.Revocation) error {
	for offset := 0; ; offset += cutPage {
		more := false
		question := fmt.Appendf(nil, `{"auth":true,"offset":%d,"limit":%d}`, offset, cutPage)
		err := c.askAll(ctx, "$SYS.REQ.SERVER.PING.CONNZ", question, func(answer []byte) error {
			var s connections
			if err := json.Unmarshal(answer, &s); err != nil {
				return fmt.Errorf("the connections of a NATS server: %w", err)
			}
			more = more || s.Data.Total > offset+len(s.Data.Connections) && len(s.Data.Connections) > 0
			for _, conn := range s.Data.Connections {
				if !strings.HasPrefix(conn.Account, partnerAccount) || !void(conn.User, revoked) {
					continue
				}
				if err := c.kick(ctx, s.Server.ID, conn.ID); err != nil {
					return err
				}
				c.log.InfoContext(ctx, "a partner's NATS connection was cut off", "account", conn.Account)
			}
			return nil
		})
		if err != nil || !more {
			return err
		}
	}
}

// askAll has each answer looked at as it comes, until no more come.
func (c *CutOff) askAll(ctx context.Context, subject string, question []byte, each func(answer []byte) error) error {
	sub, err := c.sys.SubscribeSync(nats.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.sys.PublishRequest(subject, sub.Subject, question); err != nil {
		return err
	}
	for n := 0; ; n++ {
		wait, cancel := context.WithTimeout(ctx, cutGather)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		switch {
		case err != nil && n > 0:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("no NATS server answers on the system account: %w", err)
		}
		if err := each(m.Data); err != nil {
			return err
		}
	}
}

func (c *CutOff) kick(ctx context.Context, server string, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m, err := c.sys.RequestWithContext(ctx, "$SYS.REQ.SERVER."+server+".KICK", fmt.Appendf(nil, `{"cid":%d}`, id))
	if err != nil {
		return fmt.Errorf("end a partner's connection: %w", err)
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("end a partner's connection: %w", err)
	}
	if answer.Error != nil && !strings.Contains(answer.Error.Description, "no such client") {
		return fmt.Errorf("end a partner's connection: the server says %q", answer.Error.Description)
	}
	return nil
}

// userName is how a connection is called on the server: its client, the number of the newest revocation when its token was
// issued, and the short forms of what the token rests on.
func userName(client string, issued int64, handles []string) string {
	short := make([]string, len(handles))
	for i, h := range handles {
		short[i] = shortHandle(h)
	}
	return client + "/" + strconv.FormatInt(issued, 10) + "/" + strings.Join(short, "")
}

const shortLen = 10 // hex digits

func shortHandle(handle string) string {
	sum := sha256.Sum256([]byte(handle))
	return hex.EncodeToString(sum[:])[:shortLen]
}

// void says whether the token of the connection with this name was taken back, as platform/rpc says of tokens.
func void(name string, revoked []rpc.Revocation) bool {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return false
	}
	issued, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return false
	}
	var handles []string
	for rest := range slices.Chunk([]byte(parts[2]), shortLen) {
		handles = append(handles, string(rest))
	}
	return slices.ContainsFunc(revoked, func(r rpc.Revocation) bool {
		return (r.Sequence > issued || strings.HasPrefix(r.Handle, rpc.KeyHandle(""))) && slices.Contains(handles, shortHandle(r.Handle))
	})
}
