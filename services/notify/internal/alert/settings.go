package alert

import (
	"context"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Reader is who reads or changes settings.
type Reader struct {
	// Account is a wearer's, Partner a partner's; both empty is the operator.
	Account, Partner, Mode string
}

// may reports whether settings are the reader's business. A device is its partner's and its wearer's.
func (r Reader) may(subject string, w Wearer) bool {
	switch {
	case r.Account != "":
		return subject == "accounts/"+r.Account || w.Account == r.Account && w.Account != ""
	case r.Partner != "":
		return subject == "partners/"+r.Partner || strings.HasPrefix(subject, "partners/"+r.Partner+"/devices/") && w.Mode == r.Mode
	}
	return true
}

// Settings reads settings; those that nobody made are empty.
func (s *Service) Settings(ctx context.Context, by Reader, subject string, read func(context.Context, string) (Settings, error)) (Settings, error) {
	var w Wearer
	if strings.Contains(subject, "/devices/") {
		var err error
		if w, err = s.store.Wearer(ctx, subject); err != nil {
			return Settings{}, err
		}
	}
	if !by.may(subject, w) {
		return Settings{}, errRecipient.WithField("name")
	}
	return read(ctx, subject)
}

// ChangeSettings changes settings. A version of 0 overwrites whatever there is.
func (s *Service) ChangeSettings(ctx context.Context, by Reader, req once.Request, subject string, version int64, edit func(*Settings), now time.Time) (Settings, error) {
	return s.store.ChangeSettings(ctx, req, subject, now, func(old Settings, w Wearer) (Settings, error) {
		if !by.may(subject, w) {
			return Settings{}, errRecipient.WithField("settings.name")
		}
		if version != 0 && version != old.Version {
			return Settings{}, ErrETag
		}
		next := old
		edit(&next)
		next.Subject = subject
		if err := next.Check(strings.HasPrefix(subject, "accounts/")); err != nil {
			return Settings{}, err
		}
		next.Version = old.Version + 1
		return next, nil
	})
}
