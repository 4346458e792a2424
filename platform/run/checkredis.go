package run

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// probeRedis speaks just enough of the protocol, so that it needs no client of its own. Every address is asked: a server, some
// nodes of a cluster, or sentinels, which have a user of their own.
func (p process) probeRedis(ctx context.Context, value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return "", errors.New("wants redis://user:password@host:6379/0")
	}
	hosts := append(strings.Split(u.Host, ","), u.Query()["addr"]...)
	user, kind := u.User, "Redis answers"
	if query := u.Query(); query.Has("master_name") {
		user, kind = nil, "Redis' sentinels answer"
		if password := query.Get("sentinel_password"); password != "" {
			user = url.UserPassword(query.Get("sentinel_username"), password)
		}
	}
	for _, host := range hosts {
		if err := p.askRedis(ctx, u.Scheme, user, host); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s (%d)", kind, len(hosts)), nil
}

// askRedis signs in to one address, and compares clocks; sentinels have the command for that too.
func (p process) askRedis(ctx context.Context, scheme string, as *url.Userinfo, host string) error {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "6379")
	}
	conn, err := dialRedis(ctx, scheme, host)
	if err != nil {
		return fmt.Errorf("%w; is the server up, and is this its address?", err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	r := redisConn{conn: conn, answers: bufio.NewReader(conn)}
	if password, ok := as.Password(); ok {
		user := as.Username()
		if user == "" {
			user = "default"
		}
		if line, err := r.ask("AUTH", user, password); err != nil || line != "+OK" {
			return errors.Join(fmt.Errorf("%s does not accept user and password: %s; are they those of the server's ACL?", host, line), err)
		}
	}
	if line, err := r.ask("PING"); err != nil || line != "+PONG" {
		return errors.Join(fmt.Errorf("%s answers a PING with %q; is it Redis, and does redis-url have user and password?", host, line), err)
	}
	before := p.clock()
	if at, ok := r.time(); ok {
		return clockDiffers("Redis at "+host, at, before, p.clock())
	}
	return nil // an ACL may forbid TIME, and then nothing is known of its clock
}

func dialRedis(ctx context.Context, scheme, host string) (net.Conn, error) {
	if strings.HasPrefix(scheme, "rediss") {
		return (&tls.Dialer{}).DialContext(ctx, "tcp", host)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", host)
}

type redisConn struct {
	conn    net.Conn
	answers *bufio.Reader
}

// ask returns the first line of the answer.
func (r redisConn) ask(words ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := r.conn.Write([]byte(b.String())); err != nil {
		return "", err
	}
	return r.line()
}

func (r redisConn) line() (string, error) {
	line, err := r.answers.ReadString('\n')
	return strings.TrimSpace(line), err
}

// time is the server's: an array of two texts, seconds and microseconds.
func (r redisConn) time() (time.Time, bool) {
	if line, err := r.ask("TIME"); err != nil || line != "*2" {
		return time.Time{}, false
	}
	var parts [2]int64
	for i := range parts {
		if _, err := r.line(); err != nil { // its length
			return time.Time{}, false
		}
		text, err := r.line()
		if err == nil {
			parts[i], err = strconv.ParseInt(text, 10, 64)
		}
		if err != nil {
			return time.Time{}, false
		}
	}
	return time.Unix(parts[0], parts[1]*1000), true
}
