package live

import (
	"errors"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
)

// What one command may take before Redis counts as away; a URL may say otherwise (dial_timeout, read_timeout, write_timeout).
const answerWithin = 2 * time.Second

// The parameters of a URL that say which kind of Redis it is, and with what the sentinels are asked. All others are go-redis'.
const (
	paramAddr             = "addr"
	paramMaster           = "master_name"
	paramSentinelUser     = "sentinel_username"
	paramSentinelPassword = "sentinel_password"
)

// newClient never repeats the URL in an error, which may hold a password.
//
// A write whose reply was lost is not sent again behind our back: the caller decides, and every step can be repeated. Only in
// a cluster go-redis repeats it, as it must follow slots that have moved: a miss may then count twice, and all else is the same.
func newClient(text string) (redis.UniversalClient, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("live: the Redis URL cannot be parsed: use redis://user:password@host:6379/0")
	}
	switch query := u.Query(); {
	case query.Has(paramMaster):
		options, err := redis.ParseFailoverURL(sentinels(u))
		if err != nil || options.MasterName == "" {
			return nil, errors.New("live: the Redis URL cannot be parsed: use redis://user:password@sentinel:26379/0?master_name=NAME&addr=sentinel:26379")
		}
		options.MaxRetries, options.DialerRetries = -1, 1
		setTimeouts(&options.DialTimeout, &options.ReadTimeout, &options.WriteTimeout)
		return redis.NewFailoverClient(options), nil
	case query.Has(paramAddr):
		options, err := redis.ParseClusterURL(text)
		if err != nil {
			return nil, errors.New("live: the Redis URL cannot be parsed: use redis://user:password@host:6379?addr=host:6379&addr=host:6379")
		}
		options.DialerRetries = 1
		setTimeouts(&options.DialTimeout, &options.ReadTimeout, &options.WriteTimeout)
		return redis.NewClusterClient(options), nil
	}
	options, err := redis.ParseURL(text)
	if err != nil {
		return nil, errors.New("live: the Redis URL cannot be parsed: use redis://user:password@host:6379/0")
	}
	options.MaxRetries, options.DialerRetries = -1, 1
	setTimeouts(&options.DialTimeout, &options.ReadTimeout, &options.WriteTimeout)
	return redis.NewClient(options), nil
}

func setTimeouts(timeouts ...*time.Duration) {
	for _, t := range timeouts {
		if *t == 0 {
			*t = answerWithin
		}
	}
}

// sentinels turns a URL as we want it, with the user of Redis where every URL has one, into go-redis' own, which has the
// sentinels' user there.
func sentinels(u *url.URL) string {
	out, query := *u, u.Query()
	if password, ok := u.User.Password(); ok {
		query.Set("username", u.User.Username())
		query.Set("password", password)
	}
	out.User = nil
	if password := query.Get(paramSentinelPassword); password != "" {
		out.User = url.UserPassword(query.Get(paramSentinelUser), password)
	}
	query.Del(paramSentinelUser)
	query.Del(paramSentinelPassword)
	out.RawQuery = query.Encode()
	return out.String()
}
