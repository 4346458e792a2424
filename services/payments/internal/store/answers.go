package store

import (
	"encoding/json"
	"time"

	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// remembered is what a request is remembered by. Its JSON is stored, so fields may be added but not renamed.
type remembered struct {
	ID          string         `json:"id,omitempty"`
	Transaction string         `json:"transaction,omitempty"`
	Collected   int64          `json:"collected,omitempty"`
	Account     *accountAnswer `json:"account,omitempty"`
	Payment     *paymentAnswer `json:"payment,omitempty"`
}

type merchantAnswer struct {
	ID             string `json:"id"`
	DisplayName    string `json:"display_name"`
	CategoryCode   uint32 `json:"category_code"`
	Currency       string `json:"currency"`
	FeeBasisPoints uint32 `json:"fee_basis_points,omitempty"`
	FeeFixed       int64  `json:"fee_fixed,omitempty"`
	FeeReturned    bool   `json:"fee_returned,omitempty"`
	CutOff         string `json:"cut_off,omitempty"`
	TimeZone       string `json:"time_zone,omitempty"`
	PayoutAccount  string `json:"payout_account,omitempty"`
	Suspended      bool   `json:"suspended,omitempty"`
	CreatedAt      int64  `json:"created_at"`
}

func closeMerchant(m payment.Merchant) merchantAnswer {
	return merchantAnswer{
		ID: m.ID, DisplayName: m.DisplayName, CategoryCode: m.CategoryCode, Currency: m.Currency, FeeBasisPoints: m.Fees.BasisPoints,
		FeeFixed: m.Fees.FixedMinor, FeeReturned: m.Fees.ReturnedOnRefund, CutOff: m.Settlement.CutOff, TimeZone: m.Settlement.TimeZone,
		PayoutAccount: m.Settlement.PayoutAccount, Suspended: m.Suspended, CreatedAt: micros(m.CreateTime),
	}
}

func (a merchantAnswer) merchant() payment.Merchant {
	return payment.Merchant{
		ID: a.ID, DisplayName: a.DisplayName, CategoryCode: a.CategoryCode, Currency: a.Currency, Suspended: a.Suspended,
		Fees:       payment.FeeSchedule{BasisPoints: a.FeeBasisPoints, FixedMinor: a.FeeFixed, ReturnedOnRefund: a.FeeReturned},
		Settlement: payment.SettlementSchedule{CutOff: a.CutOff, TimeZone: a.TimeZone, PayoutAccount: a.PayoutAccount},
		CreateTime: fromMicros(a.CreatedAt),
	}
}

type terminalAnswer struct {
	ID          string `json:"id"`
	Merchant    string `json:"merchant"`
	DisplayName string `json:"display_name"`
	Suspended   bool   `json:"suspended,omitempty"`
}

type accountAnswer struct {
	ID        string `json:"id"`
	Currency  string `json:"currency"`
	Balance   int64  `json:"balance"`
	Held      int64  `json:"held,omitempty"`
	Closed    bool   `json:"closed,omitempty"`
	Frozen    bool   `json:"frozen,omitempty"`
	CreatedAt int64  `json:"created_at"`
	// FreezeReason is kept for a frozen account only.
	FreezeReason string `json:"freeze_reason,omitempty"`
}

func closeAccount(a payment.Account) accountAnswer {
	return accountAnswer{
		ID: a.ID, Currency: a.Balance.Currency, Balance: a.Balance.Minor, Held: a.Held.Minor, Closed: a.Closed, Frozen: a.Frozen,
		FreezeReason: a.FreezeReason, CreatedAt: micros(a.CreateTime),
	}
}

// paymentAnswer is all of a payment that a later step may change.
type paymentAnswer struct {
	State     payment.State `json:"state"`
	Captured  int64         `json:"captured,omitempty"`
	Released  int64         `json:"released,omitempty"`
	Refunded  int64         `json:"refunded,omitempty"`
	ExpiresAt int64         `json:"expires_at,omitempty"`
	UpdatedAt int64         `json:"updated_at"`
	Revision  int64         `json:"revision"`
}

func closeAnswer(a payment.Answer) remembered {
	out := remembered{ID: a.ID, Transaction: a.Transaction, Collected: a.Collected}
	if a.Account.ID != "" {
		answer := closeAccount(a.Account)
		out.Account = &answer
	}
	if p := a.Payment; p.ID != "" {
		out.Payment = &paymentAnswer{
			State: p.State, Captured: p.CapturedMinor, Released: p.ReleasedMinor, Refunded: p.RefundedMinor,
			ExpiresAt: orZero(p.AuthorizationExpireTime), UpdatedAt: micros(p.UpdateTime), Revision: p.Revision,
		}
	}
	return out
}

// openAnswer is a remembered answer, with the payment as it was then.
func openAnswer(stored []byte, p payment.Payment) (payment.Answer, error) {
	var a remembered
	if err := json.Unmarshal(stored, &a); err != nil {
		return payment.Answer{}, err
	}
	out := payment.Answer{ID: a.ID, Transaction: a.Transaction, Collected: a.Collected, Payment: p}
	if a.Account != nil {
		out.Account = a.Account.account()
	}
	if was := a.Payment; was != nil {
		out.Payment.State, out.Payment.CapturedMinor, out.Payment.ReleasedMinor = was.State, was.Captured, was.Released
		out.Payment.RefundedMinor, out.Payment.Revision = was.Refunded, was.Revision
		out.Payment.UpdateTime, out.Payment.AuthorizationExpireTime = fromMicros(was.UpdatedAt), time.Time{}
		if was.ExpiresAt != 0 {
			out.Payment.AuthorizationExpireTime = fromMicros(was.ExpiresAt)
		}
	}
	return out, nil
}

func (a accountAnswer) account() payment.Account {
	return payment.Account{
		ID: a.ID, Balance: payment.Money{Minor: a.Balance, Currency: a.Currency}, Held: payment.Money{Minor: a.Held, Currency: a.Currency},
		Closed: a.Closed, Frozen: a.Frozen, FreezeReason: a.FreezeReason, CreateTime: fromMicros(a.CreatedAt),
	}
}

// orZero is a time in microseconds; the zero time is 0.
func orZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}
