package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// VerifyTaps implements payment.Auth.
func (a *Auth) VerifyTaps(ctx context.Context, taps []payment.TapSubmission) ([]payment.TapVerdict, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := a.client.VerifyOfflineTaps(ctx)
	if err != nil {
		return nil, passOn(err)
	}
	go sendTaps(stream, taps)
	out := make([]payment.TapVerdict, len(taps))
	for i := range out {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) || err == nil && in.GetSequence() != int64(i) {
			return nil, fmt.Errorf("auth has not answered tap %d of %d", i+1, len(taps))
		}
		if err != nil {
			return nil, passOn(err)
		}
		if out[i], err = verdict(in); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sendTaps sends beside those who receive, so that neither side waits for the other. What goes wrong the receiver is told.
func sendTaps(stream authv1.AuthService_VerifyOfflineTapsClient, taps []payment.TapSubmission) {
	for i, t := range taps {
		err := stream.Send(&authv1.VerifyOfflineTapsRequest{
			Sequence: int64(i), TerminalFrame: t.TerminalFrame, TapFrame: t.TapFrame, MerchantCategoryCode: t.Category,
		})
		if err != nil {
			return
		}
	}
	_ = stream.CloseSend()
}

// verdict is auth's answer. One that accepts says all of what money is moved by.
func verdict(in *authv1.VerifyOfflineTapsResponse) (payment.TapVerdict, error) {
	out := payment.TapVerdict{
		Duplicate: in.GetStatus() == authv1.OfflineVerdict_OFFLINE_VERDICT_DUPLICATE, Digest: in.GetTapDigest(), Device: in.GetDevice(),
		Partner: strings.TrimPrefix(in.GetPartner(), "partners/"), Account: strings.TrimPrefix(in.GetAccount(), "accounts/"), Grant: in.GetGrantId(),
		Mode: payment.Live, FareCap: int64(in.GetFareCap()), GrantLimit: int64(in.GetCumulativeLimit()), Currency: in.GetCurrency(),
		TapTime: in.GetTapTime().AsTime(), ValidUntil: in.GetValidUntilTime().AsTime(), Missing: in.GetMissingTaps(),
	}
	if in.GetMode() == typev1.Mode_MODE_TEST {
		out.Mode = payment.Test
	}
	if in.GetReason() != authv1.OfflineReason_OFFLINE_REASON_UNSPECIFIED {
		out.Reason = strings.TrimPrefix(in.GetReason().String(), "OFFLINE_REASON_")
		return out, nil
	}
	known := in.GetStatus() == authv1.OfflineVerdict_OFFLINE_VERDICT_ACCEPTED || out.Duplicate
	if _, ok := partnerOf(out.Device); !ok || !known || len(out.Digest) != 32 || out.Partner == "" || out.Account == "" || in.GetTapTime() == nil {
		return payment.TapVerdict{}, fmt.Errorf("auth answered with an incomplete verdict, status %s, device %q", in.GetStatus(), out.Device)
	}
	return out, nil
}
