package bus

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// The NATS accounts that are always there.
const (
	AccountSystem = "SYS"
	AccountAuth   = "AUTH"
	AccountCore   = "CORE"
	AccountEdge   = "EDGE"
)

// partnerAPI is the prefix under which a partner's account sees the JetStream API of its stream.
const partnerAPI = "armlet.api"

// NATSSettings is what the configuration of the NATS server depends on.
type NATSSettings struct {
	// Listen is the TCP address for clients, "127.0.0.1:4222". Without it and StoreDir the text has the accounts alone, and each
	// server of a cluster has a file of its own that includes it.
	Listen string `json:"listen,omitempty"`
	// ServerName is optional.
	ServerName string `json:"server_name,omitempty"`
	// StoreDir is the folder of JetStream's files.
	StoreDir string `json:"store_dir,omitempty"`
	// TLSCert and TLSKey are PEM files; without them connections are not encrypted.
	TLSCert string `json:"tls_cert,omitempty"`
	TLSKey  string `json:"tls_key,omitempty"`
	// SystemPassword, AuthPassword, CorePassword and EdgePassword are those of the users sys, auth, core and edge: letters,
	// digits, "-" and "_", at least 16.
	SystemPassword string `json:"system_password"`
	AuthPassword   string `json:"auth_password"`
	CorePassword   string `json:"core_password"`
	EdgePassword   string `json:"edge_password"`
	// CalloutIssuer is the public account key ("A…") that answers to authentication requests are signed with. Without it
	// partners cannot connect.
	CalloutIssuer string `json:"callout_issuer,omitempty"`
	// Partners are those that have an account.
	Partners []string `json:"-"`
}

// Validate names the first setting that has a value it cannot have.
func (s NATSSettings) Validate() error {
	switch own := s.Listen != ""; {
	case own != (s.StoreDir != ""):
		return errors.New("the NATS settings listen and store_dir go together: with both for one server, without both for a cluster")
	case !own && (s.ServerName != "" || s.TLSCert != ""):
		return errors.New("the NATS settings server_name, tls_cert and tls_key want listen: in a cluster they are in each server's own file")
	}
	for _, p := range [...]struct{ name, value string }{
		{"system_password", s.SystemPassword}, {"auth_password", s.AuthPassword},
		{"core_password", s.CorePassword}, {"edge_password", s.EdgePassword},
	} {
		if len(p.value) < 16 || strings.ContainsFunc(p.value, notPasswordRune) {
			return fmt.Errorf("the NATS setting %s must be at least 16 letters, digits, - and _", p.name)
		}
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return errors.New("the NATS settings tls_cert and tls_key go together")
	}
	for _, p := range s.Partners {
		if !subscription.ValidPartner(p) {
			return fmt.Errorf("the partner %q cannot have a NATS account", p)
		}
	}
	return nil
}

func notPasswordRune(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// PartnerAccount is the name of a partner's account.
func PartnerAccount(partner string) string { return "P_" + partner }

// AckSubjects are the subjects that the events of a partner's stream are acknowledged on, one for each of the server's
// two forms (ADR-15). The longer form is pinned to the EDGE account's hash: were these tokens wildcards, the pattern
// would also match acknowledgements of other partners' streams in the shorter form.
func AckSubjects(partner string) []string {
	stream := subscription.Stream(partner)
	return []string{"$JS.ACK." + stream + ".>", "$JS.ACK._." + accountHash(AccountEdge) + "." + stream + ".>"}
}

// accountHash is how the server abbreviates an account's name in subjects.
func accountHash(account string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(account))
	var out [8]byte
	for i := range out {
		out[i] = digits[int(sum[i])%len(digits)]
	}
	return string(out[:])
}

// RenderNATS is the text of the server's complete configuration. The same settings always give the same text.
func RenderNATS(s NATSSettings) string {
	partners := slices.Clone(s.Partners)
	slices.Sort(partners)
	partners = slices.Compact(partners)

	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("# Written by notify; changes are overwritten.")
	if s.Listen != "" {
		line("listen: %s", quote(s.Listen))
		line("jetstream { store_dir: %s }", quote(s.StoreDir))
	}
	if s.ServerName != "" {
		line("server_name: %s", quote(s.ServerName))
	}
	if s.TLSCert != "" {
		line("tls { cert_file: %s, key_file: %s }", quote(s.TLSCert), quote(s.TLSKey))
	}
	line("system_account: %s", AccountSystem)
	if s.CalloutIssuer != "" {
		line("authorization {")
		line("  timeout: 5 # seconds; auth is asked meanwhile")
		line("  auth_callout { issuer: %s, account: %s, auth_users: [sys, auth, core, edge] }", quote(s.CalloutIssuer), AccountAuth)
		line("}")
	}
	line("accounts {")
	line("  %s { users: [%s] }", AccountSystem, user("sys", s.SystemPassword))
	line("  %s { users: [%s] }", AccountAuth, user("auth", s.AuthPassword))
	line("  %s { jetstream: enabled, users: [%s] }", AccountCore, user("core", s.CorePassword))
	line("  %s {", AccountEdge)
	line("    jetstream: enabled")
	line("    users: [%s]", user("edge", s.EdgePassword))
	line("    exports: [")
	for _, p := range partners {
		writeExports(line, p)
	}
	line("    ]")
	line("  }")
	for _, p := range partners {
		writePartner(line, p)
	}
	line("}")
	return b.String()
}

// apiSubjects are the parts of the JetStream API that a partner may use on its own stream, and nothing else: it pulls from
// and looks at consumers that were made for it.
func apiSubjects(partner string) []string {
	stream := subscription.Stream(partner)
	return []string{"CONSUMER.MSG.NEXT." + stream + ".*", "CONSUMER.INFO." + stream + ".*"}
}

func writeExports(line func(string, ...any), partner string) {
	account := PartnerAccount(partner)
	for i, api := range apiSubjects(partner) {
		kind := "singleton"
		if i == 0 {
			kind = "stream" // a pull is answered with many messages
		}
		line("      { service: %s, response_type: %s, accounts: [%s] }", quote("$JS.API."+api), kind, quote(account))
	}
	for _, ack := range AckSubjects(partner) {
		line("      { service: %s, accounts: [%s] }", quote(ack), quote(account))
	}
}

func writePartner(line func(string, ...any), partner string) {
	line("  %s {", quote(PartnerAccount(partner)))
	line("    imports: [")
	for _, api := range apiSubjects(partner) {
		line("      { service: { account: %s, subject: %s }, to: %s }", AccountEdge, quote("$JS.API."+api), quote(partnerAPI+"."+api))
	}
	for _, ack := range AckSubjects(partner) {
		line("      { service: { account: %s, subject: %s } }", AccountEdge, quote(ack))
	}
	line("    ]")
	line("  }")
}

func user(name, password string) string {
	return fmt.Sprintf("{ user: %s, password: %s }", name, quote(password))
}

func quote(s string) string { return strconv.Quote(s) }
