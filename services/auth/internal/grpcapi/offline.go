package grpcapi

import (
	"encoding/hex"
	"errors"
	"io"

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
