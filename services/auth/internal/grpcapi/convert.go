package grpcapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

// id is the last part of a resource name of two parts, which the field rules have checked.
func id(name string) string {
	_, last, _ := strings.Cut(name, "/")
	return last
}

// grantParts splits partners/{partner}/grants/{scope}; a custom scope has a slash of its own.
func grantParts(name string) (owner, scope string) {
	owner, scope, _ = strings.Cut(id(name), "/grants/")
	return owner, scope
}

func callerOf(ctx context.Context) challenge.Caller {
	c := rpc.CallerFrom(ctx)
	out := challenge.Caller{Role: challenge.Role(c.Role), ID: c.ID, Partner: c.Partner, Scopes: c.Scopes}
	if c.Account != "" {
		out.Account = "accounts/" + c.Account
	}
	return out
}

// requestOf identifies a call by its caller and all it says but its request_id.
func requestOf(ctx context.Context, method string, in interface {
	proto.Message
	GetRequestId() string
},
) (request.ID, error) {
	content := proto.Clone(in)
	m := content.ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName("request_id"))
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(content)
	if err != nil {
		return request.ID{}, fmt.Errorf("fingerprint: %w", err)
	}
	return request.ID{Caller: callerOf(ctx).Key(), Method: method, ID: in.GetRequestId(), Fingerprint: sha256.Sum256(text)}, nil
}

// ownOnly hides what belongs to another partner.
func ownOnly(ctx context.Context, owner string) error {
	if c := rpc.CallerFrom(ctx); c.Role == rpc.RolePartner && c.Partner != owner {
		return partner.ErrNotFound
	}
	return nil
}

var (
	roleOf = map[authv1.ClientRole]partner.Role{
		authv1.ClientRole_CLIENT_ROLE_PARTNER: partner.RolePartner, authv1.ClientRole_CLIENT_ROLE_OPERATOR: partner.RoleOperator,
		authv1.ClientRole_CLIENT_ROLE_TERMINAL: partner.RoleTerminal,
	}
	operatorOf = map[authv1.OperatorRole]partner.OperatorRole{
		authv1.OperatorRole_OPERATOR_ROLE_ADMIN: partner.Admin, authv1.OperatorRole_OPERATOR_ROLE_SUPPORT: partner.Support,
		authv1.OperatorRole_OPERATOR_ROLE_AUDITOR: partner.Auditor,
	}
	modeOf = map[typev1.Mode]partner.Mode{
		typev1.Mode_MODE_UNSPECIFIED: partner.Live, typev1.Mode_MODE_LIVE: partner.Live, typev1.Mode_MODE_TEST: partner.Test,
	}
)

// scannedUID reads a uid as typed or scanned.
func scannedUID(text string) (wire.UID, error) {
	parse := wire.ParseUID
	if len(text) == wire.UIDQRLen {
		parse = wire.ParseQR
	}
	uid, err := parse(text)
	if err != nil {
		return uid, fault.InvalidField("uid", "this is not the uid of a band; scan or type it again").WithCause(err)
	}
	return uid, nil
}

func wantedOf(in *authv1.CreateChallengeRequest) (challenge.Wanted, error) {
	w := challenge.Wanted{
		Purpose: wire.Purpose(in.GetPurpose()), Account: in.GetAccount(),
		MinorUnits: in.GetAmount().GetMinorUnits(), Currency: in.GetAmount().GetCurrencyCode(),
		MCC: uint16(in.GetMerchantCategoryCode()), Display: in.GetDisplay(),
		MinAssurance: int(in.GetMinAssuranceLevel()), OfflineRefill: in.GetOfflineRefill(),
	}
	copy(w.Merchant[:], in.GetMerchantUid())
	copy(w.Intent[:], in.GetIntentUid())
	if in.GetAccount() == "" {
		uid, err := wire.ParseUID(in.GetDeviceUid())
		if err != nil {
			return w, fault.InvalidField("device_uid", "this is not the uid of a band").WithCause(err)
		}
		w.UID = uid
	}
	return w, nil
}

var requirementMessage = []struct {
	bit  wire.Require
	name authv1.Requirement
}{
	{wire.RequireOnWrist, authv1.Requirement_REQUIREMENT_ON_WRIST},
	{wire.RequireGesture, authv1.Requirement_REQUIREMENT_GESTURE},
	{wire.RequireUnlocked, authv1.Requirement_REQUIREMENT_UNLOCKED},
	{wire.RequireRTT, authv1.Requirement_REQUIREMENT_RTT},
	{wire.RequireDisplayConfirm, authv1.Requirement_REQUIREMENT_DISPLAY_CONFIRM},
}

// challengeMessage tells the account to services only.
func challengeMessage(ctx context.Context, c challenge.Challenge) *authv1.Challenge {
	out := &authv1.Challenge{
		Name: "challenges/" + hex.EncodeToString(c.Nonce[:]), ChallengeFrame: c.Frame,
		ExpireTime: timestamppb.New(c.ExpiresAt()), Device: c.Device, Account: forServices(ctx, c.Account), PongKey: c.PongKey,
	}
	for _, r := range requirementMessage {
		if c.Content.Require.Has(r.bit) {
			out.Requirements = append(out.Requirements, r.name)
		}
	}
	return out
}

func forServices(ctx context.Context, account string) string {
	if rpc.CallerFrom(ctx).Role == rpc.RoleService {
		return account
	}
	return ""
}

func decisionMessage(ctx context.Context, v challenge.Verdict) *authv1.Decision {
	out := &authv1.Decision{
		Assertion: v.Assertion, Device: v.Device, Account: forServices(ctx, v.Account), AssuranceLevel: int32(v.Assurance),
		ResultFrame: v.Approved, DeclinedFrame: v.Declined,
	}
	if v.Risk&challenge.RiskCounterGap != 0 {
		out.RiskFlags = append(out.RiskFlags, authv1.RiskFlag_RISK_FLAG_COUNTER_GAP)
	}
	if g := v.OfflineGrant(); g != nil {
		out.OfflineGrant = &authv1.OfflineGrant{
			GrantId: g.ID, MaxTap: money(g.MaxTap, g.Currency), CumulativeLimit: money(g.CumulativeLimit, g.Currency),
			MaxTaps: uint32(g.MaxTaps), ExpireTime: timestamppb.New(time.Unix(int64(g.ValidUntil), 0)),
		}
	}
	return out
}

func money(minor uint32, currency string) *typev1.Money {
	return &typev1.Money{MinorUnits: int64(minor), CurrencyCode: currency}
}

func nonceOf(name string) (n wire.Nonce, err error) {
	text, err := hex.DecodeString(id(name))
	if err != nil || len(text) != len(n) {
		return n, fault.InvalidField("challenge", "this is not the name of a challenge")
	}
	return wire.Nonce(text), nil
}
