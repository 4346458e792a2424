package keys

import (
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// The refusals.
var (
	ErrTransition      = fault.New(fault.FailedPrecondition, "ILLEGAL_TRANSITION", "the key's state does not allow this; list the keys to see it")
	ErrTainted         = fault.New(fault.FailedPrecondition, "KEY_EPOCH_TAINTED", "the key of this device's epoch was withdrawn; the device cannot be used")
	ErrTooYoung        = fault.New(fault.FailedPrecondition, "KEY_TOO_YOUNG", "the prepared key has not been published for long enough; wait, or force the rotation")
	ErrSigningNotFound = fault.New(fault.NotFound, "SIGNING_KEY_NOT_FOUND", "there is no such signing key")
)

// usable reports whether what was made with a key in this state counts.
func (s State) usable() bool { return s == Prepared || s == Active || s == Retiring }

// become is the row in the next state.
func (r Row) become(to State, now time.Time) Row {
	r.State, r.ChangedAt = to, now
	return r
}

// byEpoch finds a master key among all of a partner.
func byEpoch(rows []Row, epoch int) (Row, error) {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Epoch == epoch })
	if i < 0 {
		return Row{}, ErrNotFound
	}
	return rows[i], nil
}

// nextEpoch is the epoch after all of them.
func nextEpoch(rows []Row) int {
	epoch := 0
	for _, r := range rows {
		epoch = max(epoch, r.Epoch)
	}
	return epoch + 1
}

// inState lists the rows in a state, oldest first.
func inState(rows []Row, s State) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.State != s })
}

// activate is what changes when the key of the epoch becomes the one of new devices. Retired keys come first: there is
// never more than one that is active.
func activate(rows []Row, epoch int, now time.Time) ([]Row, error) {
	key, err := byEpoch(rows, epoch)
	if err != nil {
		return nil, err
	}
	switch key.State {
	case Active:
		return nil, nil
	case Prepared:
	default:
		return nil, ErrTransition
	}
	var changed []Row
	for _, r := range inState(rows, Active) {
		changed = append(changed, r.become(Retiring, now))
	}
	return append(changed, key.become(Active, now)), nil
}

// taint is the key when it may be known to others.
func taint(key Row, now time.Time) (next Row, changed bool, err error) {
	switch {
	case key.State == Tainted:
		return key, false, nil
	case !key.State.usable():
		return key, false, ErrTransition
	}
	return key.become(Tainted, now), true, nil
}

// destroy is the key without its secret.
func destroy(key Row, now time.Time) (next Row, changed bool, err error) {
	switch key.State {
	case Destroyed:
		return key, false, nil
	case Active:
		return key, false, ErrTransition
	}
	key = key.become(Destroyed, now)
	key.Sealed = []byte{}
	return key, true, nil
}

// Schedule says how signing keys follow each other.
type Schedule struct {
	// Life is how long a key signs before the next takes its place.
	Life time.Duration
	// Ahead is how long a key is published before it signs, so that every verifier has it.
	Ahead time.Duration
	// Kept is how long a key is published after it signed last: as long as the longest token lives.
	Kept time.Duration
}

// rotation is what is due among the signing keys.
type rotation struct {
	changed []Row // those that go first, then the one that signs
	prepare bool  // make the next key
}

// due is what a schedule asks for at a time.
func (s Schedule) due(rows []Row, now time.Time) rotation {
	var out rotation
	active, prepared := inState(rows, Active), inState(rows, Prepared)
	for _, r := range inState(rows, Retiring) {
		if now.Sub(r.ChangedAt) >= s.Kept {
			gone, _, _ := destroy(r, now) // a retiring key can always be destroyed
			out.changed = append(out.changed, gone)
		}
	}
	out.prepare = len(prepared) == 0
	if len(prepared) > 0 && now.Sub(prepared[0].CreatedAt) >= s.Ahead && (len(active) == 0 || now.Sub(active[0].ChangedAt) >= s.Life) {
		out.changed = append(out.changed, follow(active, prepared[0], now)...)
		out.prepare = true
	}
	return out
}

// follow puts the prepared key in the place of the active one.
func follow(active []Row, prepared Row, now time.Time) []Row {
	var changed []Row
	for _, r := range active {
		changed = append(changed, r.become(Retiring, now))
	}
	return append(changed, prepared.become(Active, now))
}
