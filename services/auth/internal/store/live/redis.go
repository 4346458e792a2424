package live

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/armlet-pay/armlet/platform/telemetry"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// keepExtra is how long Redis keeps a challenge beyond its end, so that clocks which differ a little agree on why an
// answer is refused.
const keepExtra = 30 * time.Second

// piecesAtATime is how many pieces are on their way at once, so that Redis works on one while the next is put together.
const piecesAtATime = 2

// Redis is a live store for any number of processes. It is safe for concurrent use. What callers ask at one time goes to
// Redis in one piece: with many callers that is several times as fast as one round trip for each, and a caller alone does
// not wait for others.
type Redis struct {
	client redis.UniversalClient
	pipe   *redis.AutoPipeliner
	tracer trace.Tracer
}

var _ challenge.LiveStore = (*Redis)(nil)

// OpenRedis makes a store for a URL of one of three forms; it connects when it is first used.
//
//	redis://user:password@host:6379/0                               one server
//	redis://user:password@host:6379?addr=host:port&addr=…           a cluster, of which these are some of the nodes
//	redis://user:password@sentinel:26379/0?master_name=…&addr=…     what the sentinels say is the primary
//
// The scheme rediss is for TLS. Each command is measured and, in a sampled trace, a span; no command's arguments are in it.
// Without providers nothing is.
func OpenRedis(url string, tp trace.TracerProvider, mp metric.MeterProvider) (*Redis, error) {
	client, err := newClient(url)
	if err != nil {
		return nil, err
	}
	if mp != nil {
		if err := redisotel.InstrumentMetrics(client, redisotel.WithMeterProvider(mp)); err != nil {
			return nil, errors.Join(err, client.Close())
		}
	}
	r, err := NewRedis(client)
	if err == nil && tp != nil {
		r.tracer = tp.Tracer(scope)
	}
	return r, err
}

const scope = "github.com/armlet-pay/armlet/services/auth/internal/store/live"

// NewRedis makes a store on a client, which it closes in the end.
func NewRedis(client redis.UniversalClient) (*Redis, error) {
	// A caller waits for each of its commands, so the order of commands of different callers does not matter.
	pipe, err := client.AsyncAutoPipelineWithOptions(&redis.AutoPipelineOptions{Unordered: true, MaxConcurrentBatches: piecesAtATime})
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	return &Redis{client, pipe, tracenoop.NewTracerProvider().Tracer(scope)}, nil
}

// do sends a command along with those of others and waits for its answer, or until ctx ends: then it may still happen. Its span is
// made here and not by the client, which knows of what is sent together only, and spells that out for each of them.
func (r *Redis) do(ctx context.Context, cmd redis.Cmder) error {
	if trace.SpanFromContext(ctx).IsRecording() {
		_, span := r.tracer.Start(ctx, "redis "+cmd.Name(), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String(telemetry.AttrSystem, "redis")))
		defer span.End()
	}
	return r.pipe.Submit(ctx, cmd).WaitContext(ctx)
}

// run runs a script, which Redis may not know yet.
func (r *Redis) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (string, error) {
	words := append(make([]any, 0, 3+len(keys)+len(args)), "evalsha", script.Hash(), len(keys))
	for _, k := range keys {
		words = append(words, k)
	}
	cmd := redis.NewCmd(ctx, append(words, args...)...)
	err := r.do(ctx, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return script.Eval(ctx, r.client, keys, args...).Text()
	}
	if err != nil {
		return "", err
	}
	return cmd.Text()
}

// Ping checks that Redis answers.
func (r *Redis) Ping(ctx context.Context) error { return unavailable(r.client.Ping(ctx).Err()) }

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return challenge.ErrUnavailable.WithCause(err)
}

func reservationKey(key string) string { return "armlet:rq:" + key }
func indexKey(n wire.Nonce) string     { return "armlet:ix:" + hex.EncodeToString(n[:]) }
func deviceKey(uid string) string      { return "armlet:ch:{" + uid + "}" }
func challengeKey(uid string, n wire.Nonce) string {
	return deviceKey(uid) + ":" + hex.EncodeToString(n[:])
}

// keepFor is how long Redis is to keep what belongs to c.
func keepFor(c challenge.Challenge, now time.Time) time.Duration {
	return max(c.ExpiresAt().Sub(now), 0) + keepExtra
}

// Reserve implements challenge.LiveStore.
func (r *Redis) Reserve(ctx context.Context, key string, v challenge.Reservation, now time.Time) (challenge.Reservation, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return v, fmt.Errorf("live: encode: %w", err)
	}
	old, err := r.run(ctx, reserveScript, []string{reservationKey(key)},
		v.Challenge.ExpiresAt().UnixMicro(), now.UnixMicro(), text, keepFor(v.Challenge, now).Milliseconds())
	if err != nil {
		return v, unavailable(err)
	}
	if old == "" {
		return v, nil
	}
	return decodeReservation(old)
}

// Recall implements challenge.LiveStore.
func (r *Redis) Recall(ctx context.Context, key string, now time.Time) (v challenge.Reservation, found bool, err error) {
	cmd := redis.NewStringCmd(ctx, "hget", reservationKey(key), "v")
	err = r.do(ctx, cmd)
	if errors.Is(err, redis.Nil) {
		return v, false, nil
	}
	if err != nil {
		return v, false, unavailable(err)
	}
	v, err = decodeReservation(cmd.Val())
	return v, err == nil && !expired(v.Challenge, now), err
}

func decodeReservation(text string) (v challenge.Reservation, err error) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("live: decode: %w", err)
	}
	if err := v.Challenge.Parse(); err != nil {
		return v, fmt.Errorf("live: decode: %w", err)
	}
	return v, nil
}

// Release implements challenge.LiveStore.
func (r *Redis) Release(ctx context.Context, key string) error {
	return unavailable(r.do(ctx, redis.NewIntCmd(ctx, "del", reservationKey(key))))
}

// Issue implements challenge.LiveStore. The index from nonce to uid lives in another slot and is written first: without
// it nobody finds the challenge, which refuses the tap.
func (r *Redis) Issue(ctx context.Context, c challenge.Challenge, now time.Time) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("live: encode: %w", err)
	}
	uid, keep := c.UID.String(), keepFor(c, now)
	if err := r.do(ctx, redis.NewStatusCmd(ctx, "set", indexKey(c.Nonce), uid, "px", keep.Milliseconds())); err != nil {
		return unavailable(err)
	}
	answer, err := r.run(ctx, issueScript, []string{deviceKey(uid), challengeKey(uid, c.Nonce)},
		hex.EncodeToString(c.Nonce[:]), strconv.Itoa(int(c.Content.Purpose)), c.ExpiresAt().UnixMicro(), now.UnixMicro(),
		text, keep.Milliseconds())
	if err != nil {
		return unavailable(err)
	}
	if answer == "BUSY" {
		return challenge.ErrBusy
	}
	return nil
}

// find is the key of a challenge, or empty when it is gone.
func (r *Redis) find(ctx context.Context, nonce wire.Nonce) (string, error) {
	cmd := redis.NewStringCmd(ctx, "get", indexKey(nonce))
	err := r.do(ctx, cmd)
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", unavailable(err)
	}
	return challengeKey(cmd.Val(), nonce), nil
}

// Load implements challenge.LiveStore.
func (r *Redis) Load(ctx context.Context, nonce wire.Nonce, now time.Time) (c challenge.Challenge, state challenge.State, err error) {
	key, err := r.find(ctx, nonce)
	if err != nil || key == "" {
		return c, challenge.Gone, err
	}
	cmd := redis.NewSliceCmd(ctx, "hmget", key, "s", "c")
	if err := r.do(ctx, cmd); err != nil {
		return c, challenge.Gone, unavailable(err)
	}
	fields := cmd.Val()
	s, ok := fields[0].(string)
	text, ok2 := fields[1].(string)
	if !ok || !ok2 {
		return c, challenge.Gone, nil
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return c, challenge.Gone, fmt.Errorf("live: decode: %w", err)
	}
	if err := c.Parse(); err != nil {
		return c, challenge.Gone, fmt.Errorf("live: decode: %w", err)
	}
	if expired(c, now) {
		return challenge.Challenge{}, challenge.Gone, nil
	}
	return c, challenge.State(s), nil
}

// Miss implements challenge.LiveStore.
func (r *Redis) Miss(ctx context.Context, nonce wire.Nonce, now time.Time) error {
	key, err := r.find(ctx, nonce)
	if err != nil || key == "" {
		return err
	}
	_, err = r.run(ctx, missScript, []string{key}, now.UnixMicro(), challenge.MaxTries)
	return unavailable(err)
}

var fates = map[string]challenge.Taken{
	"gone": challenge.TakenGone, "won": challenge.TakenWon, "same": challenge.TakenSame, "other": challenge.TakenOther,
	string(challenge.Superseded): challenge.TakenSuperseded, string(challenge.Spent): challenge.TakenSpent,
}

// Take implements challenge.LiveStore.
func (r *Redis) Take(ctx context.Context, nonce wire.Nonce, digest [32]byte, now time.Time) (challenge.Taken, error) {
	key, err := r.find(ctx, nonce)
	if err != nil || key == "" {
		return challenge.TakenGone, err
	}
	answer, err := r.run(ctx, takeScript, []string{key}, hex.EncodeToString(digest[:]), now.UnixMicro())
	if err != nil {
		return challenge.TakenGone, unavailable(err)
	}
	fate, ok := fates[answer]
	if !ok {
		return challenge.TakenGone, fmt.Errorf("live: unknown answer %q", answer)
	}
	return fate, nil
}
