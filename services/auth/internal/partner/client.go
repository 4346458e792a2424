package partner

import (
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

// Role says on whose behalf a client acts. The values are stored and stand in tokens.
type Role string

// The roles of clients.
const (
	RolePartner  Role = "partner"
	RoleOperator Role = "operator"
	RoleTerminal Role = "terminal"
)

// OperatorRole says what an operator's client may do. The values are stored and stand in tokens.
type OperatorRole string

// The roles of operators.
const (
	Admin   OperatorRole = "admin"
	Support OperatorRole = "support"
	Auditor OperatorRole = "auditor"
)

// ClientState is where a client is in its life. The values are stored.
type ClientState string

// The states of clients.
const (
	ClientActive    ClientState = "ACTIVE"
	ClientSuspended ClientState = "SUSPENDED"
	ClientRevoked   ClientState = "REVOKED"
)

// maxKeys is how many keys a client has at once.
const maxKeys = 5

// Key is one of a client's public keys.
type Key struct {
	ID      string    `json:"id"`  // RFC 7638 thumbprint
	JWK     string    `json:"jwk"` // canonical
	AddedAt time.Time `json:"added_at"`
}

// Client is a program that may ask for access tokens.
type Client struct {
	ID           string       `json:"id"`
	Role         Role         `json:"role"`
	Partner      string       `json:"partner"` // of partners' clients
	Mode         Mode         `json:"mode"`
	State        ClientState  `json:"state"`
	Keys         []Key        `json:"keys"` // oldest first
	TLS          bool         `json:"tls"`  // authenticates with a certificate
	OperatorRole OperatorRole `json:"operator_role"`
	Merchant     string       `json:"merchant"` // of terminals
	Terminal     string       `json:"terminal"` // of terminals
	Revision     int64        `json:"revision"` // rises with every change
	CreatedAt    time.Time    `json:"created_at"`
}

// Name is the client's resource name.
func (c Client) Name() string { return "clients/" + c.ID }

// check refuses what does not go together.
func (c Client) check() error {
	switch {
	case c.Role == RolePartner && c.Partner == "":
		return fault.InvalidField("partner", "a partner's client needs its partner")
	case c.Role != RolePartner && c.Partner != "":
		return fault.InvalidField("partner", "only a partner's client has a partner; leave it empty")
	case c.Role != RoleOperator && c.OperatorRole != "":
		return fault.InvalidField("operator_role", "only an operator's client has a role of operators; leave it out")
	case (c.Role == RoleTerminal) != (c.Merchant != ""):
		return fault.InvalidField("merchant", "a terminal's client needs its merchant, another has none")
	case (c.Role == RoleTerminal) != (c.Terminal != ""):
		return fault.InvalidField("terminal", "a terminal's client needs its terminal, another has none")
	case c.Role != RolePartner && c.Mode == Test:
		return fault.InvalidField("mode", "only partners' clients have a test mode")
	}
	return nil
}

// parseKey reads a public key; it fails with KEY_INVALID.
func parseKey(jwk string, now time.Time) (Key, error) {
	public, err := keys.CanonicalPublic(jwk)
	if err != nil {
		return Key{}, err
	}
	id, err := keys.Thumbprint(public)
	return Key{ID: id, JWK: public, AddedAt: now}, err
}

// addKey is the client with one more key.
func (c Client) addKey(k Key) (Client, error) {
	switch {
	case c.State == ClientRevoked:
		return c, ErrClientRevoked
	case slices.ContainsFunc(c.Keys, func(o Key) bool { return o.ID == k.ID }):
		return c, ErrKeyExists
	case len(c.Keys) >= maxKeys:
		return c, ErrKeyLimit
	}
	c.Keys = append(slices.Clone(c.Keys), k)
	c.Revision++
	return c, nil
}

// removeKey is the client without the key.
func (c Client) removeKey(id string) (Client, error) {
	i := slices.IndexFunc(c.Keys, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return c, ErrKeyNotFound
	}
	if len(c.Keys) == 1 && !c.TLS {
		return c, ErrLastKey
	}
	c.Keys = slices.Delete(slices.Clone(c.Keys), i, i+1)
	c.Revision++
	return c, nil
}

// become is the client in another state; changed is false when it is in that already.
func (c Client) become(to ClientState) (next Client, changed bool, err error) {
	if c.State == to {
		return c, false, nil
	}
	if c.State == ClientRevoked {
		return c, false, ErrClientRevoked
	}
	c.State = to
	c.Revision++
	return c, true, nil
}
