package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

const (
	wholeLog     = "partners/-"
	verifyAtOnce = 1000
	verifyMost   = 100_000 // entries in one call
)

// VerifyAuditRange implements the contract.
func (s *Server) VerifyAuditRange(ctx context.Context, req *devicesv1.VerifyAuditRangeRequest) (*devicesv1.VerifyAuditRangeResponse, error) {
	first := max(req.GetFirst(), 1)
	switch {
	case req.GetLast() != 0 && req.GetLast() < first:
		return nil, fault.InvalidField("last", "is before first; give a later one, or 0 for the end")
	case req.GetCheckpoint() != nil && req.GetParent() != wholeLog:
		return nil, fault.InvalidField("checkpoint", "is compared with the log of all entries, partners/-, only")
	case req.GetCheckpoint() != nil && req.GetCheckpoint().GetSignTime().CheckValid() != nil:
		return nil, fault.InvalidField("checkpoint.sign_time", "is no time")
	}
	if req.GetParent() == wholeLog {
		return s.verifyLog(ctx, req, first)
	}
	of, err := s.findSubject(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	check := device.NewChainCheck(first)
	next, err := verifyEntries(check, first, req.GetLast(), of.head.Sequence, func(after int64, limit int) ([]device.Entry, error) {
		return s.cfg.Record.EntriesOf(ctx, of.name, after, limit)
	})
	if err != nil {
		return nil, err
	}
	if req.GetLast() == 0 && next == 0 {
		check.End(of.head)
		if !of.untouched(check.Last) {
			check.Break(of.head.Sequence, device.ContentChanged)
		}
	}
	return checkMessage(check, next), nil
}

// verifyEntries feeds a check with the entries from first to last, or to the end, and returns where to go on when that is more than
// one call does.
func verifyEntries(check *device.Check, first, last, end int64, read func(after int64, limit int) ([]device.Entry, error)) (next int64, err error) {
	until := last
	if last == 0 {
		until = end
	}
	if until-first >= verifyMost {
		until = first + verifyMost - 1
		next = until + 1
	}
	for check.NextNumber() <= until {
		after := check.NextNumber() - 1
		entries, err := read(after, int(min(verifyAtOnce, until-after)))
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if !check.Next(e) {
				return 0, nil
			}
		}
		if len(entries) == 0 {
			break
		}
	}
	if check.Through(until); check.Defect != device.NoDefect {
		next = 0
	}
	return next, nil
}

// verifyLog checks the log of all entries, and a checkpoint of it.
func (s *Server) verifyLog(ctx context.Context, req *devicesv1.VerifyAuditRangeRequest, first int64) (*devicesv1.VerifyAuditRangeResponse, error) {
	if actorFrom(ctx).Role != device.RoleOperator {
		return nil, device.ErrNotYours
	}
	if err := s.cfg.Feed.Place(ctx); err != nil {
		return nil, err
	}
	head, err := s.cfg.Record.LogHead(ctx)
	if err != nil {
		return nil, err
	}
	base, found, err := s.logAt(ctx, first-1)
	if err != nil {
		return nil, err
	}
	check := device.NewLogCheck(base)
	if !found {
		check.Break(first-1, device.EntryMissing)
		return checkMessage(check, 0), nil
	}
	if err := s.compareCheckpoint(ctx, check, req.GetCheckpoint()); err != nil {
		return nil, err
	}
	next, err := verifyEntries(check, first, req.GetLast(), head.Sequence, func(after int64, limit int) ([]device.Entry, error) {
		return s.cfg.Record.Log(ctx, after, limit)
	})
	if err != nil {
		return nil, err
	}
	if req.GetLast() == 0 && next == 0 {
		check.End(head)
	}
	return checkMessage(check, next), nil
}

// logAt is the log's end as it was at a position.
func (s *Server) logAt(ctx context.Context, position int64) (device.Head, bool, error) {
	if position == 0 {
		return device.Head{}, true, nil
	}
	entries, err := s.cfg.Record.Log(ctx, position-1, 1)
	if err != nil || len(entries) == 0 || entries[0].Position != position {
		return device.Head{Sequence: position}, false, err
	}
	return device.Head{Sequence: position, Hash: entries[0].LogHash}, true, nil
}

func (s *Server) compareCheckpoint(ctx context.Context, check *device.Check, kept *devicesv1.AuditCheckpoint) error {
	if kept == nil {
		return nil
	}
	c := device.Checkpoint{
		Position: kept.GetPosition(), LogHash: [32]byte(kept.GetLogHash()), At: kept.GetSignTime().AsTime(),
		Signature: kept.GetSignature(), PublicKey: kept.GetPublicKey(),
	}
	if !s.cfg.Notary.Signed(c) {
		check.Break(c.Position, device.CheckpointForged)
		return nil
	}
	was, found, err := s.logAt(ctx, c.Position)
	if err != nil {
		return err
	}
	if !found || was.Hash != c.LogHash {
		check.Break(c.Position, device.CheckpointDiffers)
	}
	return nil
}

func checkMessage(c *device.Check, next int64) *devicesv1.VerifyAuditRangeResponse {
	return &devicesv1.VerifyAuditRangeResponse{
		Intact: c.Defect == device.NoDefect, VerifiedEntries: c.Verified, BrokenAt: c.BrokenAt,
		Defect: devicesv1.AuditDefect(c.Defect), Next: next,
	}
}

// GetAuditCheckpoint implements the contract.
func (s *Server) GetAuditCheckpoint(ctx context.Context, _ *devicesv1.GetAuditCheckpointRequest) (*devicesv1.AuditCheckpoint, error) {
	if err := s.cfg.Feed.Place(ctx); err != nil {
		return nil, err
	}
	head, err := s.cfg.Record.LogHead(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.cfg.Notary.Sign(head, s.now())
	if err != nil {
		return nil, err
	}
	return &devicesv1.AuditCheckpoint{
		Position: c.Position, LogHash: c.LogHash[:], SignTime: timestamppb.New(c.At), Signature: c.Signature, PublicKey: c.PublicKey,
	}, nil
}
