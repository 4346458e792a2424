package cli

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

const forwardTimeout = 15 * time.Second

func (a *app) listenCommand() *cobra.Command {
	var filter, forward string
	c := &cobra.Command{
		Use:   "listen",
		Short: "Show the sandbox partner's events and forward them to a local URL",
		Long: `Show the sandbox partner's events as they come, until Ctrl-C, and forward each as a
signed webhook (Standard Webhooks, HMAC) to --forward-to: for building a receiver
before it has a public address.

The first listen begins now; later ones go on where the last one stopped. What is
replayed (armlet events replay) and test events (armlet events test) arrive too.
An event counts as seen whatever the receiver answers; the answer is shown.`,
		Example: "  armlet listen\n  armlet listen --filter 'live.payments.>' --forward-to http://127.0.0.1:3000/hooks",
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := newForwarder(forward)
			if err != nil {
				return err
			}
			err = a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				if _, err := s.RegisterPartner(ctx); err != nil {
					return err
				}
				opened := func(name string) {
					fmt.Fprintf(a.err, "listening as %s; Ctrl-C ends it\n", name)
					if f != nil {
						fmt.Fprintf(a.err, "forwarding to %s, signed with %s\n", forward, f.text())
					}
				}
				return s.Listen(ctx, filter, opened, func(ev *notifyv1.StreamEventsResponse) { a.heard(ctx, f, ev) })
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&filter, "filter", "", "only subjects below pevt.v1.<partner>., such as live.payments.>")
	c.Flags().StringVar(&forward, "forward-to", "", "post each event to this URL")
	return c
}

// heard shows an event and, with a forwarder, what the receiver answered.
func (a *app) heard(ctx context.Context, f *forwarder, ev *notifyv1.StreamEventsResponse) {
	at := ev.GetEventTime().AsTime().UTC().Format(time.RFC3339Nano)
	line := map[string]any{
		"subject": ev.GetSubject(), "id": ev.GetEventId(), "type": ev.GetEventType(), "time": at, "resource": ev.GetResource(), "data": eventJSON(ev),
	}
	answer := ""
	if f != nil {
		body, err := json.Marshal(map[string]any{
			"type": ev.GetEventType(), "timestamp": at, "subject": ev.GetSubject(), "resource": ev.GetResource(), "data": eventJSON(ev),
		})
		if err == nil {
			answer = f.post(ctx, ev.GetEventId(), body)
		}
		line["answer"] = answer
	}
	if a.format == "json" {
		_ = json.NewEncoder(a.out).Encode(line)
		return
	}
	fmt.Fprintf(a.out, "%s  %s  %s  %s\n", at, ev.GetSubject(), eventJSON(ev), answer)
}

// eventJSON is the event's message, or null when this program does not know its type.
func eventJSON(ev *notifyv1.StreamEventsResponse) json.RawMessage {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(ev.GetEventType()))
	if err != nil || len(ev.GetData()) == 0 {
		return json.RawMessage("null")
	}
	msg := kind.New().Interface()
	if err := proto.Unmarshal(ev.GetData(), msg); err != nil {
		return json.RawMessage("null")
	}
	text, err := protojson.Marshal(msg)
	if err != nil {
		return json.RawMessage("null")
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, text)
	return compact.Bytes()
}

// forwarder posts events as a webhook does, with a secret of its own.
type forwarder struct {
	url    string
	secret []byte
}

func newForwarder(to string) (*forwarder, error) {
	if to == "" {
		return nil, nil //nolint:nilnil // nothing is forwarded
	}
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usageError{fmt.Errorf("--forward-to %q is no http or https URL", to)}
	}
	f := &forwarder{url: to, secret: make([]byte, 32)}
	_, _ = rand.Read(f.secret) // never fails
	return f, nil
}

func (f *forwarder) text() string { return "whsec_" + base64.StdEncoding.EncodeToString(f.secret) }

func (f *forwarder) post(ctx context.Context, id string, body []byte) string {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, f.secret)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.Status
}
