package grpcapi

import (
	"encoding/hex"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
)

// VerifyOfflineTaps implements authv1.AuthServiceServer.
func (s *Server) VerifyOfflineTaps(stream grpc.BidiStreamingServer[authv1.VerifyOfflineTapsRequest, authv1.VerifyOfflineTapsResponse]) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		v, err := s.offline.Verify(stream.Context(), offline.Submission{
			TerminalFrame: in.GetTerminalFrame(), TapFrame: in.GetTapFrame(), MCC: uint16(in.GetMerchantCategoryCode()),
		}, s.now())
		if err != nil {
			return err
		}
		if err := stream.Send(verdictMessage(in.GetSequence(), v)); err != nil {
			return err
		}
	}
}

// How often the list is looked at, and after how long without news it is said that there is none.
const (
	denyListPoll  = 500 * time.Millisecond
	denyListAlive = 30 * time.Second
)

// StreamDenyList implements authv1.AuthServiceServer.
func (s *Server) StreamDenyList(in *authv1.StreamDenyListRequest, stream grpc.ServerStreamingServer[authv1.StreamDenyListResponse]) error {
	ctx, after := stream.Context(), in.GetAfterNumber()
	tick := time.NewTicker(denyListPoll)
	defer tick.Stop()
	var said time.Time // the zero time: the first piece is sent even when it is empty
	for {
		piece, more, err := s.offline.DenyList(ctx, after, s.now())
		if err != nil {
			return err
		}
		if len(piece.Entries) > 0 || piece.UpTo > after || s.now().Sub(said) >= denyListAlive {
			if err := stream.Send(pieceMessage(piece)); err != nil {
				return err
			}
			after, said = piece.UpTo, s.now()
		}
		if more {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func pieceMessage(p offline.Piece) *authv1.StreamDenyListResponse {
	out := &authv1.StreamDenyListResponse{FromNumber: p.From, UpToNumber: p.UpTo, SignedList: p.Signed}
	for _, e := range p.Entries {
		out.Entries = append(out.Entries, &authv1.DenyListEntry{Alias: e.Alias[:], ExpireTime: timestamppb.New(e.ExpiresAt), Allowed: e.Allowed})
	}
	return out
}

var offlineReasons = map[offline.Reason]authv1.OfflineReason{
	offline.Accepted:       authv1.OfflineReason_OFFLINE_REASON_UNSPECIFIED,
	offline.BadMAC:         authv1.OfflineReason_OFFLINE_REASON_BAD_MAC,
	offline.UnknownGrant:   authv1.OfflineReason_OFFLINE_REASON_UNKNOWN_GRANT,
	offline.GrantExpired:   authv1.OfflineReason_OFFLINE_REASON_GRANT_EXPIRED,
	offline.OverTap:        authv1.OfflineReason_OFFLINE_REASON_OVER_TAP,
	offline.OverCumulative: authv1.OfflineReason_OFFLINE_REASON_OVER_CUMULATIVE,
	offline.MCCNotAllowed:  authv1.OfflineReason_OFFLINE_REASON_MCC_NOT_ALLOWED,
	offline.RevokedEarlier: authv1.OfflineReason_OFFLINE_REASON_REVOKED_BEFORE_TAP,
	offline.CloneOfTheBand: authv1.OfflineReason_OFFLINE_REASON_CLONE,
}

func verdictMessage(sequence int64, v offline.Verdict) *authv1.VerifyOfflineTapsResponse {
	out := &authv1.VerifyOfflineTapsResponse{Sequence: sequence, Reason: offlineReasons[v.Reason]}
	switch {
	case v.Duplicate:
		out.Status = authv1.OfflineVerdict_OFFLINE_VERDICT_DUPLICATE
	case v.Reason == offline.Accepted:
		out.Status = authv1.OfflineVerdict_OFFLINE_VERDICT_ACCEPTED
	default:
		out.Status = authv1.OfflineVerdict_OFFLINE_VERDICT_REJECTED
	}
	g := v.Grant
	if g == nil {
		return out
	}
	out.Device, out.Account, out.Partner, out.Mode = g.Device, g.Account, "partners/"+g.Partner, typev1.Mode_MODE_LIVE
	out.GrantId, out.OfflineCounter, out.CumulativeSpent, out.FareCap = v.GrantID, v.Counter, v.Cumulative, v.FareCap
	out.Currency, out.Exponent, out.TapTime = g.Currency, uint32(g.Exponent), timestamppb.New(v.TakenAt)
	out.CumulativeLimit, out.MaxTap, out.ValidUntilTime = g.CumulativeLimit, g.MaxTap, &timestamppb.Timestamp{Seconds: int64(g.ValidUntil)}
	out.TapDigest, out.MissingTaps, out.Terminal = v.Digest[:], v.Missing, "terminals/"+hex.EncodeToString(v.Terminal[:])
	return out
}
