package live

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// keepExtra is how long Redis keeps a challenge beyond its end, so that clocks which differ a little agree on why an
// answer is refused.
const keepExtra = 30 * time.Second

// Redis is a live store for any number of processes. It is safe for concurrent use.
type Redis struct{ client redis.UniversalClient }

var _ challenge.LiveStore = (*Redis)(nil)

// OpenRedis makes a store for redis://… or rediss://…; it connects when it is first used.
func OpenRedis(url string) (*Redis, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("live: the Redis URL cannot be parsed: use redis://user:password@host:6379/0")
	}
	// A write whose reply was lost is not sent again behind our back: the caller decides, and every step can be repeated.
	options.MaxRetries = -1
	return NewRedis(redis.NewClient(options)), nil
}

// NewRedis makes a store on a client.
func NewRedis(client redis.UniversalClient) *Redis { return &Redis{client} }

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
	old, err := reserveScript.Run(ctx, r.client, []string{reservationKey(key)},
		v.Challenge.ExpiresAt().UnixMicro(), now.UnixMicro(), text, keepFor(v.Challenge, now).Milliseconds()).Text()
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
	text, err := r.client.HGet(ctx, reservationKey(key), "v").Result()
	if errors.Is(err, redis.Nil) {
		return v, false, nil
	}
	if err != nil {
		return v, false, unavailable(err)
	}
	v, err = decodeReservation(text)
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
	return unavailable(r.client.Del(ctx, reservationKey(key)).Err())
}

// Issue implements challenge.LiveStore. The index from nonce to uid lives in another slot and is written first: without
// it nobody finds the challenge, which refuses the tap.
func (r *Redis) Issue(ctx context.Context, c challenge.Challenge, now time.Time) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("live: encode: %w", err)
	}
	uid, keep := c.UID.String(), keepFor(c, now)
	if err := r.client.Set(ctx, indexKey(c.Nonce), uid, keep).Err(); err != nil {
		return unavailable(err)
	}
	answer, err := issueScript.Run(ctx, r.client, []string{deviceKey(uid), challengeKey(uid, c.Nonce)},
		hex.EncodeToString(c.Nonce[:]), strconv.Itoa(int(c.Content.Purpose)), c.ExpiresAt().UnixMicro(), now.UnixMicro(),
		text, keep.Milliseconds()).Text()
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
	uid, err := r.client.Get(ctx, indexKey(nonce)).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", unavailable(err)
	}
	return challengeKey(uid, nonce), nil
}

// Load implements challenge.LiveStore.
func (r *Redis) Load(ctx context.Context, nonce wire.Nonce, now time.Time) (c challenge.Challenge, state challenge.State, err error) {
	key, err := r.find(ctx, nonce)
	if err != nil || key == "" {
		return c, challenge.Gone, err
	}
	fields, err := r.client.HMGet(ctx, key, "s", "c").Result()
	if err != nil {
		return c, challenge.Gone, unavailable(err)
	}
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
	return unavailable(missScript.Run(ctx, r.client, []string{key}, now.UnixMicro(), challenge.MaxTries).Err())
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
	answer, err := takeScript.Run(ctx, r.client, []string{key}, hex.EncodeToString(digest[:]), now.UnixMicro()).Text()
	if err != nil {
		return challenge.TakenGone, unavailable(err)
	}
	fate, ok := fates[answer]
	if !ok {
		return challenge.TakenGone, fmt.Errorf("live: unknown answer %q", answer)
	}
	return fate, nil
}
