// Package grpcapi is the service's gRPC surface: it translates between the contract and the domain and holds no rules.
package grpcapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// Inboxes answers reads of inboxes.
type Inboxes interface {
	// OpenInbox is Head, of an inbox that is made when there is none.
	OpenInbox(ctx context.Context, account string, now time.Time) (alert.Head, error)
	Head(ctx context.Context, account string) (alert.Head, error)
	StepsAfter(ctx context.Context, account string, after int64, limit int) ([]alert.Step, error)
	InboxAlerts(ctx context.Context, account string, after int64, limit int) ([]alert.Alert, error)
	AlertsBefore(ctx context.Context, account string, before int64, limit int) ([]alert.Alert, error)
}

// AlertReader answers plain reads about alerts.
type AlertReader interface {
	Alert(ctx context.Context, id string) (alert.Alert, error)
	Acks(ctx context.Context, alertID string) ([]alert.Ack, error)
	Kind(ctx context.Context, key alert.Key) (alert.Kind, error)
	Kinds(ctx context.Context, partner, after string, limit int) ([]alert.Kind, error)
	Settings(ctx context.Context, subject string) (alert.Settings, error)
	BroadcastByID(ctx context.Context, id string) (alert.Broadcast, error)
}

// Acker remembers what wearers do with their alerts.
type Acker interface {
	Acknowledge(ctx context.Context, req once.Request, account string, acks []alert.Ack, now time.Time) ([]alert.Alert, error)
	EraseInbox(ctx context.Context, req once.Request, account, epoch string, now time.Time) (int64, error)
}

// Topics keeps topics; they have no rules of their own.
type Topics interface {
	CreateTopic(ctx context.Context, req once.Request, t alert.Topic) (alert.Topic, error)
	Topic(ctx context.Context, partner, id string) (alert.Topic, error)
	DeleteTopic(ctx context.Context, req once.Request, partner, id string, now time.Time) error
	Topics(ctx context.Context, partner, after string, limit int) ([]alert.Topic, error)
	ChangeMembers(ctx context.Context, req once.Request, partner, id string, add, remove []string, now time.Time) (alert.Topic, error)
	Members(ctx context.Context, partner, id, after string, limit int) ([]string, error)
}

// Reader answers plain reads.
type Reader interface {
	VouchersBefore(ctx context.Context, c voucher.Campaign, before string, limit int) ([]voucher.Voucher, error)
	CampaignsBefore(ctx context.Context, by voucher.Actor, before string, limit int) ([]voucher.Campaign, error)
	Subscription(ctx context.Context, partner, id string) (subscription.Subscription, error)
	SubscriptionsOf(ctx context.Context, partner string) ([]subscription.Subscription, error)
}

// DeadLetters are the events that webhooks did not take.
type DeadLetters interface {
	DeadLetters(ctx context.Context, partner, id, after string, limit int) ([]subscription.Delivery, error)
	RedriveDeadLetters(ctx context.Context, partner, id string, events []string, now time.Time) (int64, error)
	DiscardDeadLetters(ctx context.Context, partner, id string, events []string) (int64, error)
}

// Config is what a Server is made of. All fields are needed except NATSURL and APIPrefix, which are only passed on.
type Config struct {
	Alerts        *alert.Service
	Vouchers      *voucher.Service
	Subscriptions *subscription.Service
	Reader        Reader
	Inboxes       Inboxes
	AlertReader   AlertReader
	Acker         Acker
	Topics        Topics
	Hub           *alert.Hub
	// Joined is told of each new stream of an inbox; it may be nil.
	Joined      func(account, client string)
	Custom      *custom.Service
	EventTypes  EventTypes
	Offboarding *offboarding.Service
	DeadLetters DeadLetters
	Puller      Puller
	// Seeds gives the signing keys of those names, made at first use.
	Seeds func(ctx context.Context, keys []subscription.KeyRef) ([][]byte, error)
	// PageKey signs page tokens.
	PageKey []byte
	// NATSURL is where partners connect.
	NATSURL string
	// APIPrefix is the prefix of the JetStream API that partners use.
	APIPrefix string
	Now       func() time.Time
	// Heartbeat is how long a stream may be silent; 0 is 10 s. The contract allows 15 s.
	Heartbeat time.Duration
}

// Server implements notifyv1.NotifyServiceServer.
type Server struct {
	notifyv1.UnimplementedNotifyServiceServer

	cfg   Config
	pages pageTokens
}

const defaultHeartbeat = 10 * time.Second

// New makes a Server.
func New(cfg Config) *Server {
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = defaultHeartbeat
	}
	return &Server{cfg: cfg, pages: pageTokens{key: cfg.PageKey}}
}

// mode is the caller's; a token that does not say is a live one.
func mode(c rpc.Caller) string {
	if c.Mode == "" {
		return "live"
	}
	return c.Mode
}

// request makes a request recognisable when it is repeated.
func request(c rpc.Caller, method, id string, msg proto.Message) (once.Request, error) {
	bare := proto.Clone(msg)
	fields := bare.ProtoReflect().Descriptor().Fields()
	bare.ProtoReflect().Clear(fields.ByName(protoreflect.Name("request_id")))
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return once.Request{}, fmt.Errorf("fingerprint a request: %w", err)
	}
	sum := sha256.Sum256(data)
	return once.Request{Caller: string(c.Role) + "/" + c.ID, Method: method, ID: id, Fingerprint: sum[:]}, nil
}

// lastID is the id at the end of a resource name.
func lastID(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func actor(c rpc.Caller) voucher.Actor {
	return voucher.Actor{
		Role: voucher.Role(c.Role), ID: c.ID, Partner: c.Partner, Account: lastID(c.Account), Merchant: lastID(c.Merchant), Mode: mode(c),
	}
}
