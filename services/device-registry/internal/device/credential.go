package device

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// MaxLiveCredentials is how many public keys of a device may be live at once: the one in use and the one to come.
const MaxLiveCredentials = 2

// Credential is a public key of a device. It is valid inside its window, and live as long as its window has not closed.
type Credential struct {
	ID    uint32
	Key   []byte
	From  time.Time
	Until time.Time // zero: without end
}

func (c Credential) live(now time.Time) bool { return c.Until.IsZero() || c.Until.After(now) }

// Valid are the credentials whose window is open, oldest first.
func (d Device) Valid(now time.Time) []Credential {
	var valid []Credential
	for _, c := range d.Credentials {
		if !c.From.After(now) && c.live(now) {
			valid = append(valid, c)
		}
	}
	return valid
}

// FirstCredential gives a new device its first public key, valid from when the device was registered. Symmetric suites have none.
func (d Device) FirstCredential(key []byte) Device {
	if len(key) > 0 {
		d.Credentials, d.CredentialCount = []Credential{{ID: 1, Key: key, From: d.CreatedAt}}, 1
	}
	return d
}

// AddCredential adds a public key, whose form has been checked, and forgets those whose window has closed. From and Until of
// the new one may be zero, for at once and for ever. It refuses with SUITE_NOT_SUPPORTED, ILLEGAL_TRANSITION, INVALID_FIELD,
// CREDENTIAL_EXISTS or CREDENTIAL_LIMIT_REACHED.
func (d Device) AddCredential(c Credential, by Actor, now time.Time) (Device, []Event, error) {
	if c.From.IsZero() {
		c.From = now
	}
	switch {
	case d.Suite.Symmetric():
		return d, nil, fault.New(fault.FailedPrecondition, "SUITE_NOT_SUPPORTED", "suite %d has no public keys", d.Suite)
	case d.State.Ended():
		return d, nil, fault.New(fault.FailedPrecondition, "ILLEGAL_TRANSITION", "a device that is %s gets no more keys", d.State)
	case !c.Until.IsZero() && !c.Until.After(now):
		return d, nil, fault.InvalidField("valid_until_time", "must be in the future")
	case !c.Until.IsZero() && !c.Until.After(c.From):
		return d, nil, fault.InvalidField("valid_until_time", "must be after valid_from_time")
	}
	live := make([]Credential, 0, MaxLiveCredentials+1)
	for _, old := range d.Credentials {
		if bytes.Equal(old.Key, c.Key) {
			return d, nil, fault.New(fault.AlreadyExists, "CREDENTIAL_EXISTS", "the device has this public key already, as credential %d", old.ID)
		}
		if old.live(now) {
			live = append(live, old)
		}
	}
	if len(live) >= MaxLiveCredentials {
		return d, nil, fault.New(fault.FailedPrecondition, "CREDENTIAL_LIMIT_REACHED",
			"the device has %d live public keys, which is the limit; retire one first", len(live))
	}
	d.CredentialCount++
	c.ID = d.CredentialCount
	live = append(live, c)
	d.Credentials = live
	d.AuthEpoch++
	return d, []Event{{Kind: EventCredentialAdded, Device: d, By: by, At: now, Note: c.note()}}, nil
}

// RetireCredential ends a public key at once. It refuses with CREDENTIAL_NOT_FOUND, and with CREDENTIAL_REQUIRED when no
// other is live.
func (d Device) RetireCredential(id uint32, note string, by Actor, now time.Time) (Device, []Event, error) {
	i := slices.IndexFunc(d.Credentials, func(c Credential) bool { return c.ID == id })
	if i < 0 {
		return d, nil, fault.New(fault.NotFound, "CREDENTIAL_NOT_FOUND", "the device has no credential %d", id)
	}
	gone := d.Credentials[i]
	rest := slices.Delete(slices.Clone(d.Credentials), i, i+1)
	if !slices.ContainsFunc(rest, func(c Credential) bool { return c.live(now) }) {
		return d, nil, fault.New(fault.FailedPrecondition, "CREDENTIAL_REQUIRED",
			"it is the device's last live public key; add another first, or revoke the device")
	}
	d.Credentials = rest
	d.AuthEpoch++
	if note != "" {
		note = ": " + note
	}
	return d, []Event{{Kind: EventCredentialRetired, Device: d, By: by, At: now, Note: gone.note() + note}}, nil
}

// note is how the record speaks of a key: by its number and the hash of it.
func (c Credential) note() string { return fmt.Sprintf("credential %d %x", c.ID, sha256.Sum256(c.Key)) }
