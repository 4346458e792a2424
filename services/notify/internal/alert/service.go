package alert

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

var errRecipient = fault.New(fault.NotFound, "RECIPIENT_NOT_FOUND",
	"no wearer has this device at present, or it is not yours").WithField("device")

// ErrCursor is what a cursor beyond the end of an inbox gets.
var ErrCursor = fault.New(fault.FailedPrecondition, "CURSOR_INVALID",
	"the inbox has no such sequence; start again from 0").WithField("after_sequence")

// Store remembers alerts.
type Store interface {
	// SendAlert looks up who wears the device, lets decide write the alert, and puts it into the inbox with the next
	// sequence, all in one transaction. A device that nobody wears is the zero Wearer. A repeated request gets the first
	// answer.
	SendAlert(ctx context.Context, req once.Request, device string, now time.Time, decide func(Wearer) (Draft, error)) (Alert, error)
}

// Sender is a partner that sends an alert of its own.
type Sender struct {
	Partner string
	Mode    string
}

// Service sends alerts for partners.
type Service struct{ store Store }

// NewService makes a Service on a store.
func NewService(store Store) *Service { return &Service{store: store} }

// Send puts a partner's own text into the inbox of whoever wears one of its devices. The partner does not learn who
// that is: a device that is not the partner's, of the other mode or on nobody's wrist is RECIPIENT_NOT_FOUND alike.
func (s *Service) Send(ctx context.Context, by Sender, req once.Request, device, band, phone string, now time.Time) (Alert, error) {
	if strings.ContainsFunc(band, unicode.IsControl) {
		return Alert{}, fault.InvalidField("band_text", "a band cannot show control characters; leave them out")
	}
	if len(band) > BandBytes {
		return Alert{}, fault.InvalidField("band_text", "a band shows %d bytes of UTF-8; shorten the text", BandBytes)
	}
	return s.store.SendAlert(ctx, req, device, now, func(w Wearer) (Draft, error) {
		if w.Account == "" || w.Partner != by.Partner || w.Mode != by.Mode {
			return Draft{}, errRecipient
		}
		return Draft{
			Account: w.Account, Type: PartnerMessage, Band: band, Phone: phone, Vibration: VibrateTwoShort,
			Device: device, Partner: by.Partner, Mode: w.Mode,
		}, nil
	})
}
