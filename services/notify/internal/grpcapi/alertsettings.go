package grpcapi

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

// kindPattern is that of GetAlertTypeRequest.name: inside a resource, which is an output too, there is no rule for it.
var kindPattern = regexp.MustCompile(`^(partners/[a-z0-9][a-z0-9-]{1,30}/)?alertTypes/[a-z][a-z0-9_.]{0,62}$`)

const settingsSuffix = "/alertSettings"

func settingsReader(c rpc.Caller) alert.Reader {
	switch c.Role {
	case rpc.RoleWearer:
		return alert.Reader{Account: strings.TrimPrefix(c.Account, "accounts/")}
	case rpc.RolePartner:
		return alert.Reader{Partner: c.Partner, Mode: mode(c)}
	default:
		return alert.Reader{}
	}
}

// GetAlertSettings implements notifyv1.NotifyServiceServer.
func (s *Server) GetAlertSettings(ctx context.Context, req *notifyv1.GetAlertSettingsRequest) (*notifyv1.AlertSettings, error) {
	subject := strings.TrimSuffix(req.GetName(), settingsSuffix)
	settings, err := s.cfg.Alerts.Settings(ctx, settingsReader(rpc.CallerFrom(ctx)), subject, s.cfg.AlertReader.Settings)
	if err != nil {
		return nil, err
	}
	return settingsProto(settings), nil
}

// UpdateAlertSettings implements notifyv1.NotifyServiceServer.
func (s *Server) UpdateAlertSettings(ctx context.Context, req *notifyv1.UpdateAlertSettingsRequest) (*notifyv1.AlertSettings, error) {
	caller := rpc.CallerFrom(ctx)
	version, err := versionOf(req.GetSettings().GetEtag())
	if err != nil {
		return nil, err
	}
	edit, err := settingsEdit(req.GetSettings(), req.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "UpdateAlertSettings", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	subject := strings.TrimSuffix(req.GetSettings().GetName(), settingsSuffix)
	settings, err := s.cfg.Alerts.ChangeSettings(ctx, settingsReader(caller), r, subject, version, edit, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return settingsProto(settings), nil
}

func settingsEdit(from *notifyv1.AlertSettings, mask *fieldmaskpb.FieldMask) (func(*alert.Settings), error) {
	all := map[string]func(*alert.Settings){
		"time_zone":   func(to *alert.Settings) { to.TimeZone = from.GetTimeZone() },
		"locale":      func(to *alert.Settings) { to.Locale = from.GetLocale() },
		"quiet_hours": func(to *alert.Settings) { to.Quiet = quietOf(from.GetQuietHours()) },
		"preferences": func(to *alert.Settings) { to.Preferences = preferencesOf(from.GetPreferences()) },
	}
	paths := mask.GetPaths()
	if len(paths) == 0 || slices.Contains(paths, "*") {
		paths = []string{"time_zone", "locale", "quiet_hours", "preferences"}
	}
	for _, path := range paths {
		if all[path] == nil {
			return nil, fault.InvalidField("update_mask", "settings have no field %q that can be changed", path)
		}
	}
	return func(to *alert.Settings) {
		for _, path := range paths {
			all[path](to)
		}
	}, nil
}

func quietOf(q *notifyv1.QuietHours) *alert.Quiet {
	if q == nil {
		return nil
	}
	return &alert.Quiet{Start: minutes(q.GetStart()), End: minutes(q.GetEnd())}
}

// minutes reads "22:00", whose form protovalidate has checked.
func minutes(clock string) int {
	hour, minute, _ := strings.Cut(clock, ":")
	h, _ := strconv.Atoi(hour)
	m, _ := strconv.Atoi(minute)
	return h*60 + m
}

func preferencesOf(all []*notifyv1.AlertPreference) []alert.Preference {
	var out []alert.Preference
	for _, p := range all {
		out = append(out, alert.Preference{Category: categoryOf(p.GetCategory()), Surface: surfaceOf(p.GetSurface()), Enabled: p.GetEnabled()})
	}
	return out
}

func settingsProto(s alert.Settings) *notifyv1.AlertSettings {
	out := &notifyv1.AlertSettings{Name: s.Subject + settingsSuffix, TimeZone: s.TimeZone, Locale: s.Locale}
	if s.Version > 0 {
		out.Etag = strconv.FormatInt(s.Version, 10)
	}
	if s.Quiet != nil {
		clock := func(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }
		out.QuietHours = &notifyv1.QuietHours{Start: clock(s.Quiet.Start), End: clock(s.Quiet.End)}
	}
	for _, p := range s.Preferences {
		out.Preferences = append(out.Preferences, &notifyv1.AlertPreference{Category: categoryProto(p.Category), Surface: surfaceProto(p.Surface), Enabled: p.Enabled})
	}
	return out
}
