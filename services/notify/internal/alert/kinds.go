package alert

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// CreateKind makes a type as a draft.
func (s *Service) CreateKind(ctx context.Context, req once.Request, key Key, draft Content, now time.Time) (Kind, error) {
	if err := draft.Check(key.Partner, s.schemas); err != nil {
		return Kind{}, err
	}
	return s.store.ChangeKind(ctx, req, key, now, func(old *Kind, count int) (Kind, error) {
		switch {
		case old != nil:
			return Kind{}, ErrKindExists
		case count >= MaxKinds:
			return Kind{}, ErrTooManyKinds
		}
		return Kind{Key: key, Draft: draft, Version: 1, CreatedAt: now, UpdatedAt: now}, nil
	})
}

// UpdateKind changes a type's draft. A version of 0 overwrites whatever there is. The schema and the category of a built-in
// type are the platform's own.
func (s *Service) UpdateKind(ctx context.Context, req once.Request, key Key, version int64, edit func(*Content), now time.Time) (Kind, error) {
	return s.store.ChangeKind(ctx, req, key, now, func(old *Kind, _ int) (Kind, error) {
		if old == nil {
			return Kind{}, ErrKindNotFound
		}
		if version != 0 && version != old.Version {
			return Kind{}, ErrETag
		}
		next := *old
		edit(&next.Draft)
		if old.BuiltIn && (next.Draft.Schema != old.Draft.Schema || next.Draft.Category != old.Draft.Category) {
			return Kind{}, invalidKind("payload_schema", "a built-in type's schema and category are the platform's; leave them as they are")
		}
		if err := next.Draft.Check(key.Partner, s.schemas); err != nil {
			return Kind{}, err
		}
		next.Version, next.UpdatedAt = old.Version+1, now
		return next, nil
	})
}

// PublishKind puts a type's draft into effect.
func (s *Service) PublishKind(ctx context.Context, req once.Request, key Key, version int64, now time.Time) (Kind, error) {
	return s.store.ChangeKind(ctx, req, key, now, func(old *Kind, _ int) (Kind, error) {
		if old == nil {
			return Kind{}, ErrKindNotFound
		}
		if version != 0 && version != old.Version {
			return Kind{}, ErrETag
		}
		next := *old
		draft := old.Draft
		next.Published, next.Revision, next.Version, next.UpdatedAt = &draft, old.Revision+1, old.Version+1, now
		return next, nil
	})
}

// PreviewKind is what a type's draft would show.
func (s *Service) PreviewKind(ctx context.Context, key Key, payload map[string]any, locale string) (Text, error) {
	kind, err := s.store.Kind(ctx, key)
	if err != nil {
		return Text{}, err
	}
	compiled, err := Compile(kind.Draft, kind.Revision)
	if err != nil {
		return Text{}, err
	}
	if err := s.schemas.Validate(kind.Draft.Schema, payload); err != nil {
		return Text{}, errPayloadSchema.WithCause(err).WithMeta("detail", cut(err.Error(), maxValue))
	}
	return compiled.Render(payload, locale), nil
}
