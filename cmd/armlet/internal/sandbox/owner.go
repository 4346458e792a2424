package sandbox

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

var errNoBand = errors.New("there is no virtual band in the data folder yet; `armlet tap` makes one")

var errNoOwner = status.Error(codes.FailedPrecondition, "the band has no owner who could let it go; it can be claimed")

// Wearer connects as the holder of the account, as the wallet operator's login does.
func (s *Sandbox) Wearer(ctx context.Context, account string) (*sdk.Client, error) {
	session, err := s.Operator.Auth.CreateWearerSession(ctx, &authv1.CreateWearerSessionRequest{Account: account})
	if err != nil {
		return nil, err
	}
	return s.dial(sdk.StaticToken(session.GetAccessToken()))
}

// ownBand is the virtual band of the folder, worn.
func (s *Sandbox) ownBand(ctx context.Context) (*virtual.Band, error) {
	if !s.exists(bandFile) {
		return nil, errNoBand
	}
	return s.Band(ctx, nil) // the lot is for making one
}

// TakeOver binds the virtual band to another account, given the code of its owner, and returns the device's name.
func (s *Sandbox) TakeOver(ctx context.Context, account, code string) (string, error) {
	band, err := s.ownBand(ctx)
	if err != nil {
		return "", err
	}
	next, err := s.Wearer(ctx, account)
	if err != nil {
		return "", err
	}
	phone := &virtual.Phone{Client: next, Band: band}
	claim, err := next.Auth.BeginClaim(ctx, &authv1.BeginClaimRequest{Uid: band.UID().QR(), RequestId: RequestID()})
	if err != nil {
		return "", err
	}
	band.Knock()
	response, err := phone.Relay(claim.GetChallengeFrame(), nil)
	if err != nil {
		return "", err
	}
	done, err := next.Auth.CompleteClaim(ctx, &authv1.CompleteClaimRequest{Name: claim.GetName(), ResponseFrame: response, TransferCode: code})
	if err != nil {
		return "", err
	}
	return done.GetDevice(), phone.Deliver(done.GetResultFrame())
}

// Release ends the binding of the virtual band with the band's own signature, and returns the device's name.
func (s *Sandbox) Release(ctx context.Context) (string, error) {
	band, err := s.ownBand(ctx)
	if err != nil {
		return "", err
	}
	d, err := s.Operator.Devices.GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: "partners/-/devices/" + band.UID().String()})
	if err != nil {
		return "", err
	}
	if d.GetAccount() == "" {
		return "", errNoOwner
	}
	owner, err := s.Wearer(ctx, d.GetAccount())
	if err != nil {
		return "", err
	}
	phone, intent := &virtual.Phone{Client: owner, Band: band}, uuid.New()
	challenge, err := owner.Auth.CreateChallenge(ctx, &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_UNBIND, Subject: &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: band.UID().String()},
		MerchantUid: make([]byte, 16), IntentUid: intent[:], Display: "Let go?", RequestId: RequestID(),
	})
	if err != nil {
		return "", err
	}
	band.Knock()
	response, err := phone.Relay(challenge.GetChallengeFrame(), challenge.GetPongKey())
	if err != nil {
		return "", err
	}
	decision, err := owner.Auth.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: challenge.GetName(), ResponseFrame: response})
	if err != nil {
		return "", err
	}
	return d.GetName(), phone.Deliver(decision.GetResultFrame())
}
