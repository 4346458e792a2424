package voucher

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Campaigns remembers campaigns. Each change is one transaction with the request and the events; a repeated request gets
// the first answer without the decision being asked for.
type Campaigns interface {
	CreateCampaign(ctx context.Context, req once.Request, now time.Time, decide func() (Campaign, error)) (Campaign, error)
	// Campaign fails with ErrCampaignNotFound.
	Campaign(ctx context.Context, id string) (Campaign, error)
	// ChangeCampaign fails with ErrCampaignNotFound.
	ChangeCampaign(ctx context.Context, req once.Request, id string, now time.Time, decide func(Campaign) (Campaign, error)) (Campaign, error)
}

// Vouchers remembers vouchers and who may not ask for them.
type Vouchers interface {
	// IssueVoucher counts the voucher in its campaign and stores it with the hash of its code. It fails with
	// ErrCampaignNotFound, ErrLimitReached and ErrCodeTaken.
	IssueVoucher(ctx context.Context, req once.Request, campaignID string, now time.Time,
		decide func(Campaign) (v Voucher, codeHash []byte, err error)) (Voucher, error)
	// AssignVoucher fails with ErrVoucherNotFound.
	AssignVoucher(ctx context.Context, req once.Request, id string, now time.Time, decide func(Voucher, Campaign) (Voucher, error)) (Voucher, error)
	// VoucherByCode fails with ErrVoucherNotFound.
	VoucherByCode(ctx context.Context, codeHash []byte) (Voucher, Campaign, error)
	// Payer completes an account by the band bound to it last, or a band's uid by whose it is. What is not known is empty.
	Payer(ctx context.Context, account, deviceUID string) (ofAccount, device string, err error)
	// LockOut remembers until when nobody of this name may ask.
	LockOut(ctx context.Context, guesser string, until time.Time) error
	// LockedUntil is the zero time for whoever was never locked out.
	LockedUntil(ctx context.Context, guesser string) (time.Time, error)
}

// Batches remembers vouchers that are generated many at once.
type Batches interface {
	// CreateBatch counts all vouchers of the batch as issued. It fails with ErrCampaignNotFound and ErrLimitReached.
	CreateBatch(ctx context.Context, req once.Request, campaignID string, now time.Time, decide func(Campaign) (Batch, error)) (Batch, error)
	// FillBatch stores the vouchers that come after the first ones, all or none, and tells how many of the batch there are
	// then. It fails with ErrCodeTaken, and with ErrBatchBusy when there are more or fewer than first.
	FillBatch(ctx context.Context, b Batch, first int, template Voucher, next []Minted) (stored int, err error)
	// BatchIDs are the ids of the batch's vouchers between two ids, in order.
	BatchIDs(ctx context.Context, b Batch, from, to string) ([]string, error)
}

// Redemptions remembers redemptions.
type Redemptions interface {
	// Answered is the answer that a redeeming request got before.
	Answered(ctx context.Context, req once.Request) (r Redemption, found bool, err error)
	// Reserve takes what the redemption holds from its voucher, its campaign's budget and limits, and stores it. It fails
	// with ErrVoucherNotFound, ErrProofUsed, ErrRedeemed, ErrReserved, ErrNotActive, ErrBudgetExhausted and ErrLimit.
	Reserve(ctx context.Context, req once.Request, codeHash []byte, now time.Time,
		decide func(Voucher, Campaign, Used) (Redemption, error)) (Redemption, error)
	// Change moves what the redemption holds with its state. It fails with ErrRedemptionNotFound.
	Change(ctx context.Context, req once.Request, id string, now time.Time, decide func(Redemption, Campaign) (Redemption, error)) (Redemption, error)
	// Settle is Change without a request. A decision that changes nothing writes nothing.
	Settle(ctx context.Context, id string, now time.Time, decide func(Redemption) (Redemption, error)) error
	// Due are reservations whose time to be released has come, oldest first.
	Due(ctx context.Context, now time.Time, limit int) ([]string, error)
	// Used is how much of each meter is used.
	Used(ctx context.Context, campaignID string, meters []Meter) ([]int64, error)
}

// Stores are all of them; one database stands behind.
type Stores struct {
	Campaigns   Campaigns
	Vouchers    Vouchers
	Batches     Batches
	Redemptions Redemptions
}

// Assertions verifies the bands' assertions.
type Assertions interface {
	// Verify checks signature and issuer. It fails with ErrProofInvalid, or with a fault of kind Unavailable when it
	// cannot tell.
	Verify(ctx context.Context, assertion string) (Proof, error)
}

// Service runs campaigns and redeems vouchers.
type Service struct {
	campaigns   Campaigns
	vouchers    Vouchers
	batches     Batches
	redemptions Redemptions
	codes       *Codes
	assertions  Assertions
	guard       *guard
	newID       func() string
}

// NewService makes a Service; newID makes UUIDs that sort by time.
func NewService(in Stores, codes *Codes, assertions Assertions, newID func() string) *Service {
	return &Service{
		campaigns: in.Campaigns, vouchers: in.Vouchers, batches: in.Batches, redemptions: in.Redemptions,
		codes: codes, assertions: assertions, guard: newGuard(), newID: newID,
	}
}
