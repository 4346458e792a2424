package payment

import (
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/armlet-pay/armlet/platform/fault"
)

func checkDisplayName(name string) error {
	if name == "" || len(name) > maxMerchantDisplayBytes || !utf8.ValidString(name) {
		return fault.InvalidField("merchant.display_name", "must be 1 to %d bytes of UTF-8", maxMerchantDisplayBytes)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fault.InvalidField("merchant.display_name", "must consist of printable characters, since the band shows it")
		}
	}
	return nil
}

func checkCurrency(field, code string) error {
	if len(code) != 3 {
		return fault.InvalidField(field, "must be a currency code of ISO 4217 such as CNY")
	}
	for _, r := range code {
		if r < 'A' || r > 'Z' {
			return fault.InvalidField(field, "must be a currency code of ISO 4217 such as CNY")
		}
	}
	return nil
}

func checkAmount(m Money) error {
	if m.Minor <= 0 {
		return fault.New(fault.Invalid, "AMOUNT_NOT_POSITIVE", "the amount must be positive, got %d", m.Minor).
			WithField("amount.minor_units")
	}
	return checkCurrency("amount.currency_code", m.Currency)
}

func currencyMismatch(what, want, got string) error {
	return fault.New(fault.FailedPrecondition, "CURRENCY_MISMATCH", "the %s is in %s, the amount in %s; nothing is converted", what, want, got).
		WithField("amount.currency_code")
}

func accountClosed() error {
	return fault.New(fault.FailedPrecondition, "ACCOUNT_CLOSED", "the account is closed and takes part in nothing any more")
}

func accountFrozen() error {
	return fault.New(fault.FailedPrecondition, "ACCOUNT_FROZEN", "the account is frozen and gives no money until the operator lets it")
}

func checkTimeZone(field, name string) error {
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		return fault.InvalidField(field, "must be a name of the IANA time zone database such as Asia/Shanghai, or empty for UTC")
	}
	return nil
}
