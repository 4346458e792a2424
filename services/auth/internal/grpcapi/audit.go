package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/audit"
)

const (
	auditBatch = 1000
	auditMost  = 100_000
)

// ListAuditEntries implements authv1.AuthServiceServer.
func (s *Server) ListAuditEntries(ctx context.Context, in *authv1.ListAuditEntriesRequest) (*authv1.ListAuditEntriesResponse, error) {
	entries, err := s.reader.Audit(ctx, in.GetSubject(), in.GetAfterSequence(), pageSize(in.GetPageSize()))
	if err != nil {
		return nil, err
	}
	out := &authv1.ListAuditEntriesResponse{}
	for _, e := range entries {
		out.AuditEntries = append(out.AuditEntries, &authv1.AuditEntry{
			Sequence: e.Sequence, CreateTime: timestamppb.New(e.At), Actor: e.Actor, Action: e.Action, Subject: e.Subject,
			Detail: e.Detail, Hash: e.Hash[:],
		})
	}
	return out, nil
}

// VerifyAudit implements authv1.AuthServiceServer. The head is read first: entries that are added meanwhile follow it.
func (s *Server) VerifyAudit(ctx context.Context, in *authv1.VerifyAuditRequest) (*authv1.VerifyAuditResponse, error) {
	head, err := s.reader.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	last := audit.Entry{Sequence: in.GetAfterSequence()}
	if last.Sequence > 0 {
		before, err := s.reader.Audit(ctx, "", last.Sequence-1, 1)
		if err != nil {
			return nil, err
		}
		if len(before) == 0 || before[0].Sequence != last.Sequence {
			return &authv1.VerifyAuditResponse{BrokenAt: last.Sequence}, nil
		}
		last = before[0]
	}
	for n := 0; n < auditMost && last.Sequence < head.Sequence; n += auditBatch {
		entries, err := s.reader.Audit(ctx, "", last.Sequence, auditBatch)
		if err != nil {
			return nil, err
		}
		broken := audit.Broken(last.Hash, last.Sequence+1, entries)
		if len(entries) == 0 { // the end was cut off
			broken = last.Sequence + 1
		}
		if broken != 0 {
			return &authv1.VerifyAuditResponse{LastSequence: broken - 1, BrokenAt: broken}, nil
		}
		last = entries[len(entries)-1]
	}
	if last.Sequence == head.Sequence && last.Hash != head.Hash {
		return &authv1.VerifyAuditResponse{LastSequence: last.Sequence, BrokenAt: last.Sequence}, nil
	}
	return &authv1.VerifyAuditResponse{Intact: true, LastSequence: last.Sequence, Hash: last.Hash[:]}, nil
}
