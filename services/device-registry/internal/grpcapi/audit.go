package grpcapi

import (
	"context"
	"strconv"
	"strings"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// subject is a thing that has a record, as the caller may see it.
type subject struct {
	name      string // in the record
	head      device.Head
	untouched func(last *device.Entry) bool
}

// findSubject reads the device, lot or model by name.
func (s *Server) findSubject(ctx context.Context, field, name string) (subject, error) {
	switch strings.Split(name, "/")[2] {
	case "lots":
		l, err := s.findLot(ctx, name)
		return subject{l.Subject(), l.Head, func(last *device.Entry) bool { return last == nil || last.Content == l.Content() }}, err
	case "models":
		m, err := s.findModel(ctx, name)
		return subject{m.Subject(), m.Head, func(last *device.Entry) bool { return last == nil || last.Content == m.Content() }}, err
	default:
		d, err := s.find(ctx, field, name)
		return subject{UIDText(d.UID), d.Head, d.Untouched}, err
	}
}

// ListAuditEntries implements the contract.
func (s *Server) ListAuditEntries(ctx context.Context, req *devicesv1.ListAuditEntriesRequest) (*devicesv1.ListAuditEntriesResponse, error) {
	of, err := s.findSubject(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	list, size := listName("audit", of.name), pageSize(req.GetPageSize())
	last, err := s.pages.after(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after int64
	if last != "" {
		if after, err = strconv.ParseInt(last, 10, 64); err != nil {
			return nil, err
		}
	}
	entries, err := s.cfg.Record.EntriesOf(ctx, of.name, after, size+1)
	if err != nil {
		return nil, err
	}
	out := &devicesv1.ListAuditEntriesResponse{}
	entries, more := cut(entries, size)
	for _, e := range entries {
		out.AuditEntries = append(out.AuditEntries, entryMessage(e))
	}
	if more {
		out.NextPageToken = s.pages.token(list, strconv.FormatInt(entries[size-1].Sequence, 10))
	}
	return out, nil
}
