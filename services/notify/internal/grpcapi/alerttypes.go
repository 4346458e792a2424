package grpcapi

import (
	"context"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
)

// ownerOf is the owner named by a parent, when the caller may act for it. To a partner nobody else's things exist.
func ownerOf(c rpc.Caller, parent string, missing *fault.Error) (string, error) {
	owner := ""
	if parent != "" {
		owner = lastID(parent)
	}
	if c.Role == rpc.RolePartner && owner != c.Partner {
		return "", missing
	}
	return owner, nil
}

func ownKind(c rpc.Caller, name string) (alert.Key, error) {
	key := kindOf(name)
	if c.Role == rpc.RolePartner && key.Partner != c.Partner {
		return key, alert.ErrKindNotFound
	}
	return key, nil
}

var errParent = fault.New(fault.PermissionDenied, rpc.ReasonCallerNotAllowed, "this is another partner's; use your own").WithField("parent")

// CreateAlertType implements notifyv1.NotifyServiceServer.
func (s *Server) CreateAlertType(ctx context.Context, req *notifyv1.CreateAlertTypeRequest) (*notifyv1.AlertType, error) {
	caller := rpc.CallerFrom(ctx)
	owner, err := ownerOf(caller, req.GetParent(), errParent)
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "CreateAlertType", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	kind, err := s.cfg.Alerts.CreateKind(ctx, r, alert.Key{Partner: owner, ID: req.GetAlertTypeId()}, contentOf(req.GetDraft()), s.cfg.Now())
	return kindProto(kind), err
}

// GetAlertType implements notifyv1.NotifyServiceServer.
func (s *Server) GetAlertType(ctx context.Context, req *notifyv1.GetAlertTypeRequest) (*notifyv1.AlertType, error) {
	key, err := ownKind(rpc.CallerFrom(ctx), req.GetName())
	if err != nil {
		return nil, err
	}
	kind, err := s.cfg.AlertReader.Kind(ctx, key)
	if err != nil {
		return nil, err
	}
	return kindProto(kind), nil
}

// ListAlertTypes implements notifyv1.NotifyServiceServer.
func (s *Server) ListAlertTypes(ctx context.Context, req *notifyv1.ListAlertTypesRequest) (*notifyv1.ListAlertTypesResponse, error) {
	owner, err := ownerOf(rpc.CallerFrom(ctx), req.GetParent(), errParent)
	if err != nil {
		return nil, err
	}
	list := "alertTypes/" + owner
	after, err := s.pages.cursor(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	kinds, err := s.cfg.AlertReader.Kinds(ctx, owner, after, size)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListAlertTypesResponse{}
	for _, kind := range kinds {
		out.AlertTypes = append(out.AlertTypes, kindProto(kind))
	}
	if len(kinds) == size {
		out.NextPageToken = s.pages.next(list, kinds[size-1].ID)
	}
	return out, nil
}

// UpdateAlertType implements notifyv1.NotifyServiceServer.
func (s *Server) UpdateAlertType(ctx context.Context, req *notifyv1.UpdateAlertTypeRequest) (*notifyv1.AlertType, error) {
	caller := rpc.CallerFrom(ctx)
	if !kindPattern.MatchString(req.GetAlertType().GetName()) {
		return nil, fault.InvalidField("alert_type.name", "name a type")
	}
	key, err := ownKind(caller, req.GetAlertType().GetName())
	if err != nil {
		return nil, err
	}
	version, err := versionOf(req.GetAlertType().GetEtag())
	if err != nil {
		return nil, err
	}
	edit, err := contentEdit(req.GetAlertType().GetDraft(), req.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "UpdateAlertType", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	kind, err := s.cfg.Alerts.UpdateKind(ctx, r, key, version, edit, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return kindProto(kind), nil
}

// PublishAlertType implements notifyv1.NotifyServiceServer.
func (s *Server) PublishAlertType(ctx context.Context, req *notifyv1.PublishAlertTypeRequest) (*notifyv1.AlertType, error) {
	caller := rpc.CallerFrom(ctx)
	key, err := ownKind(caller, req.GetName())
	if err != nil {
		return nil, err
	}
	version, err := versionOf(req.GetEtag())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "PublishAlertType", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	kind, err := s.cfg.Alerts.PublishKind(ctx, r, key, version, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return kindProto(kind), nil
}

// PreviewAlertType implements notifyv1.NotifyServiceServer.
func (s *Server) PreviewAlertType(ctx context.Context, req *notifyv1.PreviewAlertTypeRequest) (*notifyv1.PreviewAlertTypeResponse, error) {
	key, err := ownKind(rpc.CallerFrom(ctx), req.GetName())
	if err != nil {
		return nil, err
	}
	payload, size, err := payloadOf(req.GetPayload())
	if err == nil && size > alert.MaxPayload {
		err = fault.InvalidField("payload", "a payload has at most %d bytes as JSON", alert.MaxPayload)
	}
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.Alerts.PreviewKind(ctx, key, payload, req.GetLocale())
	if err != nil {
		return nil, err
	}
	return &notifyv1.PreviewAlertTypeResponse{
		Locale: t.Locale, BandText: t.Band, Icon: t.Icon, Vibration: uint32(t.Vibration), Title: t.Title, PhoneText: t.Phone, FullText: t.Full,
	}, nil
}

// contentEdit changes the fields of a draft that a mask names.
func contentEdit(draft *notifyv1.AlertTypeContent, mask *fieldmaskpb.FieldMask) (func(*alert.Content), error) {
	fields := map[string]func(to *alert.Content, from alert.Content){
		"display_name":     func(to *alert.Content, from alert.Content) { to.DisplayName = from.DisplayName },
		"category":         func(to *alert.Content, from alert.Content) { to.Category = from.Category },
		"default_priority": func(to *alert.Content, from alert.Content) { to.Priority = from.Priority },
		"payload_schema":   func(to *alert.Content, from alert.Content) { to.Schema = from.Schema },
		"default_locale":   func(to *alert.Content, from alert.Content) { to.DefaultLocale = from.DefaultLocale },
		"templates":        func(to *alert.Content, from alert.Content) { to.Templates = from.Templates },
		"throttle":         func(to *alert.Content, from alert.Content) { to.Throttle = from.Throttle },
	}
	if draft == nil {
		return nil, fault.InvalidField("alert_type.draft", "say what it shall be")
	}
	content, paths := contentOf(draft), mask.GetPaths()
	if len(paths) == 0 || slices.Contains(paths, "*") {
		return func(c *alert.Content) { *c = content }, nil
	}
	for _, path := range paths {
		if fields[path] == nil {
			return nil, fault.InvalidField("update_mask", "a draft has no field %q that can be changed", path)
		}
	}
	return func(c *alert.Content) {
		for _, path := range paths {
			fields[path](c, content)
		}
	}, nil
}

// versionOf is the version in an etag; 0 for none.
func versionOf(etag string) (int64, error) {
	if etag == "" {
		return 0, nil
	}
	version, err := strconv.ParseInt(etag, 10, 64)
	if err != nil || version <= 0 {
		return 0, alert.ErrETag
	}
	return version, nil
}

func contentOf(c *notifyv1.AlertTypeContent) alert.Content {
	out := alert.Content{
		DisplayName: c.GetDisplayName(), Category: categoryOf(c.GetCategory()), Priority: alert.Priority(c.GetDefaultPriority()),
		Schema: c.GetPayloadSchema(), DefaultLocale: c.GetDefaultLocale(),
	}
	for _, t := range c.GetTemplates() {
		out.Templates = append(out.Templates, alert.TemplateSpec{
			Surface: surfaceOf(t.GetSurface()), Locale: t.GetLocale(), Title: t.GetTitle(), Texts: t.GetTexts(), Icon: t.GetIcon(),
			Vibration: alert.Vibration(t.GetVibration()), Words: t.GetWords(),
		})
	}
	if t := c.GetThrottle(); t != nil {
		out.Throttle = alert.Throttle{Max: int(t.GetMaxCount()), Period: t.GetPeriod().AsDuration()}
	}
	return out
}

func contentProto(c alert.Content) *notifyv1.AlertTypeContent {
	out := &notifyv1.AlertTypeContent{
		DisplayName: c.DisplayName, Category: categoryProto(c.Category), DefaultPriority: notifyv1.AlertPriority(c.Priority), PayloadSchema: c.Schema,
		DefaultLocale: c.DefaultLocale,
	}
	for _, t := range c.Templates {
		out.Templates = append(out.Templates, &notifyv1.AlertTemplate{
			Surface: surfaceProto(t.Surface), Locale: t.Locale, Title: t.Title, Texts: t.Texts, Icon: t.Icon, Vibration: uint32(t.Vibration), Words: t.Words,
		})
	}
	if c.Throttle.Max > 0 {
		out.Throttle = &notifyv1.AlertThrottle{MaxCount: int32(c.Throttle.Max), Period: durationpb.New(c.Throttle.Period)}
	}
	return out
}

func kindProto(k alert.Kind) *notifyv1.AlertType {
	out := &notifyv1.AlertType{
		Name: bus.KindName(k.Key), Draft: contentProto(k.Draft), Revision: int32(k.Revision), BuiltIn: k.BuiltIn, Etag: strconv.FormatInt(k.Version, 10),
		CreateTime: clockTime(k.CreatedAt), UpdateTime: clockTime(k.UpdatedAt),
	}
	if k.Published != nil {
		out.Published = contentProto(*k.Published)
	}
	return out
}
