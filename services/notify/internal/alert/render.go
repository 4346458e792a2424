package alert

// Event is what happened, as far as a wearer is concerned.
type Event struct {
	Type Type
	// Account is the recipient, without a prefix; an event without one alerts nobody.
	Account string
	// Device is the full name of the device it is about, or empty.
	Device  string
	Partner string
	Mode    string
	// Amount is what moved; zero for events about devices.
	Amount Money
	// Merchant is the display name of who was paid, or empty.
	Merchant string
	// Reason is the stable reason of a declined payment.
	Reason string
}

// Render writes the alert of an event. It is false when nobody is to be told.
func Render(ev Event) (Draft, bool) {
	if ev.Account == "" {
		return Draft{}, false
	}
	d := Draft{Account: ev.Account, Type: ev.Type, Device: ev.Device, Partner: ev.Partner, Mode: ev.Mode}
	amount := ev.Amount.String()
	switch ev.Type {
	case PaymentCaptured:
		d.Band, d.Vibration = fit("Paid "+amount, amount, "Paid: see phone"), VibrateOneShort
		d.Phone = "Paid " + amount + preposition(" to ", ev.Merchant) + "."
	case PaymentDeclined:
		d.Band, d.Vibration = fit("Declined "+amount, "Declined"), VibrateOneLong
		d.Phone = "The payment of " + amount + preposition(" to ", ev.Merchant) + " was declined: " + explain(ev.Reason) + "."
	case DeviceSuspended:
		d.Band, d.Vibration = "Reported lost", VibrateOneLong
		d.Phone = "Your band was reported lost. It pays for nobody until you lift this."
	case DeviceBound:
		d.Band, d.Vibration = "Band added", VibrateTwoShort
		d.Phone = "A band was added to your account. If this was not you, report it lost now."
	case VoucherRedeemed:
		d.Band, d.Vibration = fit("Voucher "+amount, amount, "Voucher redeemed"), VibrateTwoShort
		d.Phone = "Your voucher of " + amount + " was redeemed."
	case AccountToppedUp:
		d.Band, d.Vibration = fit("Added "+amount, amount, "Money added"), VibrateOneShort
		d.Phone = amount + " was added to your account."
	default:
		return Draft{}, false
	}
	return d, true
}

func preposition(word, name string) string {
	if name == "" {
		return ""
	}
	return word + name
}

// explain puts the reasons that wearers meet into words. A reason it does not know is not shown: it would help nobody.
func explain(reason string) string {
	switch reason {
	case "INSUFFICIENT_FUNDS":
		return "there is not enough money in the account"
	case "TAP_DECLINED":
		return "it was refused on the band"
	case "DEVICE_SUSPENDED":
		return "the band is suspended"
	case "CLONE_SUSPECTED":
		return "the band needs a check; contact support"
	}
	return "it could not be completed"
}
