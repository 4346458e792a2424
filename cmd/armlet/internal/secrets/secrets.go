// Package secrets makes the passwords by which the services, PostgreSQL, Redis and NATS of one deployment know each other,
// as the files that its containers and programs are given.
package secrets

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"
)

// Places are where the servers are for the services, and where NATS is for itself.
type Places struct {
	Postgres    string // host:port, or with a comma a primary and its standby
	Redis       string // host:port, or with commas several nodes of a cluster or several sentinels
	RedisMaster string // the name by which sentinels know the primary; empty without sentinels
	NATS        string // host:port, or with commas several nodes of a cluster
	NATSListen  string // the address that the server listens on; empty for a cluster
	NATSStore   string // the folder of JetStream's files; empty for a cluster
}

// redisURL is where auth finds Redis.
func (p Places) redisURL(password string) string {
	first, rest, several := strings.Cut(p.Redis, ",")
	query := url.Values{}
	if several {
		query["addr"] = strings.Split(rest, ",")
	}
	if p.RedisMaster != "" {
		query.Set("master_name", p.RedisMaster)
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("default", password), Host: first, Path: "/0", RawQuery: query.Encode()}
	return u.String()
}

// databaseURL is where a service finds its database.
func (p Places) databaseURL(name, password string) string {
	text := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", name, password, p.Postgres, name)
	if strings.Contains(p.Postgres, ",") {
		text += "&target_session_attrs=read-write"
	}
	return text
}

// services have a database each; it and its role have the service's name, with _ for -.
var services = []string{"device-registry", "auth", "payments", "notify"}

var natsUsers = []string{"sys", "auth", "core", "edge"}

// Passwords and the seed are made once; they are what everything else is made from.
const (
	password = "-password"
	seedFile = "nats-callout.seed"
)

// Make writes the files that dir lacks and returns the names of those it wrote. Passwords that are there stay; what is made
// from them is written again when the places or the passwords have changed. Containers run as users of their own, so the
// files can be read by all, and the folder by its owner alone.
func Make(dir string, at Places) (written []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder is entered
		return nil, err
	}
	m := maker{dir: dir}
	files := map[string]string{}
	m.once("postgres"+password, rand.Text)
	for _, service := range services {
		database := strings.ReplaceAll(service, "-", "_")
		pw := m.once("postgres-"+service+password, rand.Text)
		files[service+"-db-url"] = at.databaseURL(database, pw)
	}
	pw := m.once("redis"+password, rand.Text)
	files["redis-users.acl"] = "user default on >" + pw + " ~* &* +@all"
	files["redis-url"] = at.redisURL(pw)
	users := map[string]string{}
	for _, user := range natsUsers {
		users[user] = m.once("nats-"+user+password, rand.Text)
		as := fmt.Sprintf("nats://%s:%s@", user, users[user])
		files["nats-"+user+"-url"] = as + strings.ReplaceAll(at.NATS, ",", ","+as)
	}
	if at.NATSListen == "" {
		m.once("nats-route"+password, rand.Text)
	}
	files["nats-settings.json"] = m.natsSettings(at, users)
	for name, text := range files {
		m.write(name, text)
	}
	slices.Sort(m.written)
	return m.written, m.err
}

// maker does nothing more after its first error.
type maker struct {
	dir     string
	written []string
	err     error
}

// once is the text of a file, which is made when it is not there.
func (m *maker) once(name string, text func() string) string {
	if m.err != nil {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		made := text()
		m.write(name, made)
		return made
	}
	m.err = err
	got := strings.TrimSpace(string(b))
	if err == nil && got == "" {
		m.err = fmt.Errorf("%s is empty; remove it to have it made again", filepath.Join(m.dir, name))
	}
	return got
}

// write replaces a file in one step when it has another text.
func (m *maker) write(name, text string) {
	file := filepath.Join(m.dir, name)
	if m.err != nil {
		return
	}
	if old, err := os.ReadFile(file); err == nil && string(old) == text+"\n" {
		return
	}
	next := file + ".next"
	err := os.WriteFile(next, []byte(text+"\n"), 0o444) //nolint:gosec // the folder is the operator's own argument
	if err == nil {
		err = os.Rename(next, file)
	}
	if err != nil {
		m.err = err
		return
	}
	m.written = append(m.written, name)
}

// readers are who is given secrets, and the files of each: a password is seen by those who use it and by nobody else.
var readers = map[string][]string{
	"postgres": {
		"postgres-password", "postgres-device-registry-password", "postgres-auth-password", "postgres-payments-password",
		"postgres-notify-password",
	},
	"redis":           {"redis-users.acl", "redis-password"},
	"device-registry": {"device-registry-db-url", "nats-core-url"},
	"auth":            {"auth-db-url", "redis-url", "nats-core-url", "nats-auth-url", "nats-sys-url", seedFile},
	"payments":        {"payments-db-url", "nats-core-url"},
	"notify":          {"notify-db-url", "nats-core-url", "nats-edge-url", "nats-sys-url", "nats-settings.json"},
}

// Deliver gives each reader a folder in out with copies of its files. That folder can be entered by all, as whoever mounts it
// runs as a user of its own: let nobody but its reader mount it.
func Deliver(dir, out string) error {
	for reader, names := range readers {
		folder := filepath.Join(out, reader)
		if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // see above
			return err
		}
		m := maker{dir: folder}
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			m.write(name, strings.TrimSuffix(string(text), "\n"))
		}
		if m.err != nil {
			return m.err
		}
	}
	return nil
}

// natsSettings are what notify writes the server's configuration from.
func (m *maker) natsSettings(at Places, users map[string]string) string {
	seed := m.once(seedFile, func() string {
		pair, err := nkeys.CreateAccount()
		if err != nil {
			m.err = err
			return ""
		}
		seed, err := pair.Seed()
		m.err = err
		return string(seed)
	})
	if m.err != nil {
		return ""
	}
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		m.err = fmt.Errorf("%s: %w", filepath.Join(m.dir, seedFile), err)
		return ""
	}
	issuer, err := pair.PublicKey()
	if err != nil {
		m.err = err
		return ""
	}
	settings := map[string]string{
		"callout_issuer": issuer, "system_password": users["sys"], "auth_password": users["auth"],
		"core_password": users["core"], "edge_password": users["edge"],
	}
	if at.NATSListen != "" {
		settings["listen"], settings["store_dir"] = at.NATSListen, at.NATSStore
	}
	text, err := json.Marshal(settings)
	m.err = err
	return string(text)
}
