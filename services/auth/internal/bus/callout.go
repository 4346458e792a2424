package bus

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/armlet-pay/armlet/platform/rpc"
)

const (
	calloutSubject = "$SYS.REQ.USER.AUTH"
	calloutQueue   = "auth"
	calloutTimeout = 2 * time.Second // the server waits for as long by default
	subscribeScope = "events.subscribe"
)

// Tokens verifies access tokens.
type Tokens interface {
	Verify(ctx context.Context, token string) (rpc.Caller, error)
	VerifyJWS(ctx context.Context, token, typ string) ([]byte, error)
}

// Callout answers NATS servers that ask whether to let a connection in (auth callout). A partner connects with its access
// token as the NATS token; it becomes a user of the account P_<partner> that may pull its own consumers and nothing else,
// until the token ends.
type Callout struct {
	conn   *nats.Conn
	tokens Tokens
	issuer nkeys.KeyPair
	log    *slog.Logger
	now    func() time.Time
}

// NewCallout makes a responder that answers on the connection, one of account AUTH, and signs with the seed of an account
// nkey: the server's auth_callout has its public half as issuer.
func NewCallout(conn *nats.Conn, tokens Tokens, seed []byte, log *slog.Logger, now func() time.Time) (*Callout, error) {
	issuer, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("the callout seed is not an nkey seed: %w", err)
	}
	public, err := issuer.PublicKey()
	if err != nil || !nkeys.IsValidPublicAccountKey(public) {
		return nil, errors.New("the callout seed is not that of an account (SA…)")
	}
	return &Callout{conn, tokens, issuer, log, now}, nil
}

// NewCalloutSeed is a fresh account seed.
func NewCalloutSeed() ([]byte, error) {
	pair, err := nkeys.CreateAccount()
	if err != nil {
		return nil, err
	}
	return pair.Seed()
}

// Run answers until the context ends.
func (c *Callout) Run(ctx context.Context) error {
	sub, err := c.conn.QueueSubscribe(calloutSubject, calloutQueue, func(m *nats.Msg) {
		ctx, cancel := context.WithTimeout(ctx, calloutTimeout)
		defer cancel()
		answer, err := c.decide(ctx, m.Data)
		if err == nil {
			err = m.Respond(answer)
		}
		if err != nil {
			c.log.WarnContext(ctx, "a NATS server's question could not be answered", "error", err)
		}
	})
	if err != nil {
		return fmt.Errorf("answer auth callouts: %w", err)
	}
	<-ctx.Done()
	return sub.Drain()
}

// decide answers one question. Whoever is not let in learns nothing but that.
func (c *Callout) decide(ctx context.Context, question []byte) ([]byte, error) {
	req, err := jwt.DecodeAuthorizationRequestClaims(string(question))
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	resp := jwt.NewAuthorizationResponseClaims(req.UserNkey)
	resp.Audience = req.Server.ID
	user, err := c.admit(ctx, req)
	if err != nil {
		c.log.InfoContext(ctx, "NATS connection refused", "client", req.ClientInformation.Host, "error", err)
		resp.Error = "not allowed"
	} else {
		resp.Jwt = user
	}
	answer, err := resp.Encode(c.issuer)
	return []byte(answer), err
}

func (c *Callout) admit(ctx context.Context, req *jwt.AuthorizationRequestClaims) (string, error) {
	token := req.ConnectOptions.Token
	if token == "" {
		return "", errors.New("no token")
	}
	caller, err := c.tokens.Verify(ctx, token)
	if err != nil {
		return "", err
	}
	if caller.Role != rpc.RolePartner || caller.Partner == "" || !slices.Contains(caller.Scopes, subscribeScope) {
		return "", fmt.Errorf("%s lacks the scope %s", caller, subscribeScope)
	}
	t, err := c.read(ctx, token)
	if err != nil {
		return "", err
	}
	return userClaims(req.UserNkey, caller, t).Encode(c.issuer)
}

// tokenClaims are those that a connection depends on besides its caller.
type tokenClaims struct {
	ExpiresAt       int64    `json:"exp"`
	RevocationsSeen int64    `json:"rvs"`
	Handles         []string `json:"rvh"`
}

// read verifies the token for what is in it. The connection ends with the token, or when something it rests on, the key
// that signed it included, is taken back.
func (c *Callout) read(ctx context.Context, token string) (tokenClaims, error) {
	var t tokenClaims
	payload, err := c.tokens.VerifyJWS(ctx, token, rpc.TypeAccessToken)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(payload, &t); err != nil || t.ExpiresAt <= c.now().Unix() {
		return t, errors.New("the token has ended")
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	first, _, _ := strings.Cut(token, ".")
	if text, err := base64.RawURLEncoding.DecodeString(first); err == nil && json.Unmarshal(text, &header) == nil {
		t.Handles = append(t.Handles, rpc.KeyHandle(header.KeyID))
	}
	return t, nil
}

func userClaims(nkey string, caller rpc.Caller, t tokenClaims) *jwt.UserClaims {
	stream := "PE_" + caller.Partner
	u := jwt.NewUserClaims(nkey)
	u.Name = userName(caller.ID, t.RevocationsSeen, t.Handles)
	u.Audience = partnerAccount + caller.Partner
	u.Expires = t.ExpiresAt
	u.Pub.Allow.Add(
		"armlet.api.CONSUMER.MSG.NEXT."+stream+".*",
		"armlet.api.CONSUMER.INFO."+stream+".*",
		// Acknowledgements: $JS.ACK.<stream>… and, of newer servers, $JS.ACK.<domain>.<account hash>.<stream>… With wildcards
		// for domain and hash the second would also match acknowledgements of other partners' streams in the first form.
		"$JS.ACK."+stream+".>",
		"$JS.ACK._."+accountHash(edgeAccount)+"."+stream+".>",
	)
	u.Sub.Allow.Add("_INBOX.>")
	return u
}

// partnerAccount is what the names of partners' accounts begin with.
const partnerAccount = "P_"

// edgeAccount holds the partners' streams.
const edgeAccount = "EDGE"

// accountHash is how the NATS server abbreviates an account's name in subjects.
func accountHash(account string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(account))
	var out [8]byte
	for i := range out {
		out[i] = digits[int(sum[i])%len(digits)]
	}
	return string(out[:])
}
