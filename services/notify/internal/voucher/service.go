package voucher

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Store remembers campaigns and vouchers. Each change is one transaction with the request and the events; a repeated
// request gets the first answer without the decision being asked for.
type Store interface {
	CreateCampaign(ctx context.Context, req once.Request, now time.Time, decide func() (Campaign, error)) (Campaign, error)
	// Campaign fails with ErrCampaignNotFound.
	Campaign(ctx context.Context, id string) (Campaign, error)
	// IssueVoucher counts the voucher in its campaign and stores it with the hash of its code. It fails with
	// ErrCampaignNotFound, ErrBudgetExhausted and ErrCodeTaken.
	IssueVoucher(ctx context.Context, req once.Request, campaignID string, now time.Time,
		decide func(Campaign) (v Voucher, codeHash []byte, err error)) (Voucher, error)
	// VoucherByCode fails with ErrVoucherNotFound.
	VoucherByCode(ctx context.Context, codeHash []byte) (Voucher, Campaign, error)
	// Redemption is the answer that a redeeming request got before.
	Redemption(ctx context.Context, req once.Request) (r Redemption, found bool, err error)
	// Redeem marks the voucher redeemed, counts it and stores the redemption. It fails with ErrVoucherNotFound,
	// ErrRedeemed and ErrProofUsed.
	Redeem(ctx context.Context, req once.Request, codeHash []byte, now time.Time,
		decide func(Voucher, Campaign) (Redemption, error)) (Redemption, error)
}

// Assertions verifies the bands' assertions.
type Assertions interface {
	// Verify checks signature and issuer. It fails with ErrProofInvalid, or with a fault of kind Unavailable when it
	// cannot tell.
	Verify(ctx context.Context, assertion string) (Proof, error)
}

// Service runs campaigns and redeems vouchers.
type Service struct {
	store      Store
	codes      *Codes
	assertions Assertions
	newID      func() string
}

// NewService makes a Service; newID makes UUIDs.
func NewService(store Store, codes *Codes, assertions Assertions, newID func() string) *Service {
	return &Service{store: store, codes: codes, assertions: assertions, newID: newID}
}
