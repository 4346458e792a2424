package device

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/armlet-pay/armlet/platform/fault"
)

// LotState is what the device's lot says of all its devices. The numbers are stored.
type LotState uint8

// The states of a lot.
const (
	LotHeld     LotState = 1
	LotReleased LotState = 2
	LotRecalled LotState = 3
)

// Transfer is a device on its way to another account. Of the code that the owner was given only the hash is kept.
type Transfer struct {
	Hash  [sha256.Size]byte
	Until time.Time
}

// TransferTime is how long a transfer may take.
const TransferTime = 24 * time.Hour

// Pending reports whether the transfer is under way; a nil one is not.
func (t *Transfer) Pending(now time.Time) bool { return t != nil && t.Until.After(now) }

// releasable is nil when the owner may let the device go: not while it is lost, under suspicion or copied.
func (d Device) releasable() error {
	for _, s := range d.Suspensions {
		if s.Reason != PartnerHold {
			return fault.New(fault.FailedPrecondition, "DEVICE_SUSPENDED",
				"the device is suspended for the reason %s and stays with its account until that is lifted", s.Reason)
		}
	}
	return nil
}

// Release ends the binding of a bound device. It refuses with ILLEGAL_TRANSITION or DEVICE_SUSPENDED.
func (d Device) Release(id BindingID, note string, by Actor, now time.Time) (Device, Event, error) {
	if d.State != Bound {
		return d, Event{}, illegal(d.State, Available)
	}
	if err := d.releasable(); err != nil {
		return d, Event{}, err
	}
	owner := d.Account
	d.State, d.Account, d.Transfer = Available, "", nil
	d.AuthEpoch++
	return d, Event{Kind: EventReleased, Device: d, By: by, At: now, Binding: id, Account: owner, Note: note}, nil
}

// End retires or revokes the device. It refuses with ILLEGAL_TRANSITION, and with AUTHORITY_TOO_LOW when a partner would
// retire a device that somebody wears: only a cause, or the operator, takes it from them.
func (d Device) End(final State, note string, by Actor, now time.Time) (Device, []Event, error) {
	if !final.Ended() || !d.State.CanBecome(final) {
		return d, nil, illegal(d.State, final)
	}
	if final == Retired && d.State == Bound && by.Authority() < AuthorityOperator {
		return d, nil, fault.New(fault.PermissionDenied, "AUTHORITY_TOO_LOW",
			"a bound device is retired by the operator, or once its owner has released it")
	}
	owner := d.Account
	d.State, d.Account, d.Transfer = final, "", nil
	d.AuthEpoch++
	return d, []Event{{Kind: EventEnded, Device: d, By: by, At: now, Account: owner, Note: note}}, nil
}

// BeginTransfer opens a transfer, in place of one that is under way. It refuses with ILLEGAL_TRANSITION or DEVICE_SUSPENDED.
func (d Device) BeginTransfer(hash [sha256.Size]byte, by Actor, now time.Time) (Device, []Event, error) {
	if d.State != Bound {
		return d, nil, fault.New(fault.FailedPrecondition, "ILLEGAL_TRANSITION", "a device that is %s cannot be handed on", d.State)
	}
	if err := d.releasable(); err != nil {
		return d, nil, err
	}
	d.Transfer = &Transfer{Hash: hash, Until: now.Add(TransferTime)}
	d.AuthEpoch++
	return d, []Event{{Kind: EventTransferBegun, Device: d, By: by, At: now}}, nil
}

// CancelTransfer voids the code. It refuses with TRANSFER_NOT_FOUND.
func (d Device) CancelTransfer(by Actor, now time.Time) (Device, []Event, error) {
	if !d.Transfer.Pending(now) {
		return d, nil, fault.New(fault.NotFound, "TRANSFER_NOT_FOUND", "the device is not being handed on")
	}
	d.Transfer = nil
	d.AuthEpoch++
	return d, []Event{{Kind: EventTransferCancelled, Device: d, By: by, At: now}}, nil
}

// TakeOver makes the account the owner in place of the one that began the transfer, given the code. It refuses with
// TRANSFER_CODE_INVALID, and as Bind does.
func (d Device) TakeOver(account, code string, id BindingID, by Actor, now time.Time) (Device, Event, error) {
	hash := TransferHash(d.UID, code)
	if d.State != Bound || !d.Transfer.Pending(now) || subtle.ConstantTimeCompare(hash[:], d.Transfer.Hash[:]) != 1 {
		return d, Event{}, fault.New(fault.PermissionDenied, "TRANSFER_CODE_INVALID",
			"no transfer with this code is under way; ask the owner for a new code")
	}
	if err := d.bindable(); err != nil {
		return d, Event{}, err
	}
	owner := d.Account
	d.Account, d.Transfer = account, nil
	d.Generation++
	d.AuthEpoch++
	note := fmt.Sprintf("generation %d", d.Generation)
	return d, Event{Kind: EventTransferred, Device: d, By: by, At: now, Binding: id, Account: owner, Note: note}, nil
}

// TransferHash is what is kept of a code. The code has 128 random bits, so that one round of hashing is enough.
func TransferHash(uid UID, code string) [sha256.Size]byte {
	return sha256.Sum256(append(append([]byte("armlet/transfer/1\x00"), uid[:]...), code...))
}

// Limits of labels.
const (
	maxLabels     = 16
	maxLabelValue = 64 // characters
)

var labelKey = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// CheckLabels refuses labels that cannot be kept, naming the field.
func CheckLabels(field string, labels map[string]string) error {
	if len(labels) > maxLabels {
		return fault.InvalidField(field, "at most %d labels are kept", maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		value := labels[key]
		n := utf8.RuneCountInString(value)
		printable := !slices.ContainsFunc([]rune(value), func(r rune) bool { return !unicode.IsPrint(r) })
		if !labelKey.MatchString(key) || n < 1 || n > maxLabelValue || !utf8.ValidString(value) || !printable {
			return fault.InvalidField(fmt.Sprintf("%s[%q]", field, key),
				"keys are [a-z][a-z0-9_-]{0,31}, values 1 to %d printable characters", maxLabelValue)
		}
	}
	return nil
}

// Label replaces the labels. Labels that are the same already make no event. No payment depends on them.
func (d Device) Label(labels map[string]string, by Actor, now time.Time) (Device, []Event) {
	if maps.Equal(d.Labels, labels) {
		return d, nil
	}
	d.Labels = maps.Clone(labels)
	return d, []Event{{Kind: EventLabelled, Device: d, By: by, At: now}}
}

// ErrETag is the refusal of a change that was decided on without knowing a later one.
var ErrETag = fault.New(fault.Aborted, "ETAG_MISMATCH", "it was changed meanwhile; read it again and decide anew").WithField("etag")
