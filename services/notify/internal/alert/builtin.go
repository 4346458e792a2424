package alert

import (
	"slices"
	"time"
)

// The ids of the built-in types: one for every event that a wearer should hear of, and a partner's plain message.
const (
	PaymentAuthorized = "payment.authorized"
	PaymentCaptured   = "payment.captured"
	PaymentDeclined   = "payment.declined"
	PaymentExpired    = "payment.expired"
	PaymentVoided     = "payment.voided"
	PaymentReleased   = "payment.released"
	PaymentRefunded   = "payment.refunded"
	AccountToppedUp   = "account.topped_up"
	AccountWithdrawn  = "account.withdrawn"
	AccountClosed     = "account.closed"
	AccountFrozen     = "account.frozen"
	AccountUnfrozen   = "account.unfrozen"
	AccountOverdrawn  = "account.overdrawn"
	DebtCollected     = "account.debt_collected"
	DeviceBound       = "device.bound"
	DeviceReleased    = "device.released"
	DeviceSuspended   = "device.suspended"
	SuspensionLifted  = "device.suspension_lifted"
	DeviceEnded       = "device.ended"
	CloneSuspected    = "device.clone_suspected"
	VoucherIssued     = "voucher.issued"
	VoucherRedeemed   = "voucher.redeemed"
	PartnerMessage    = "partner.message"
)

// wording is a type in one language: the band's texts, a title and the phone's text.
type wording struct {
	band         []string
	title, phone string
	words        map[string]string
}

type builtIn struct {
	id, name  string
	category  Category
	priority  Priority
	icon      string
	vibration Vibration
	schema    string
	en, zh    wording
	throttle  Throttle
}

const (
	moneySchema = `{"type":"object","required":["minor_units","currency_code"],"properties":{"minor_units":{"type":"integer"},` +
		`"currency_code":{"type":"string","pattern":"^[A-Z]{3}$"}}}`
	paymentSchema = `{"type":"object","required":["amount"],"properties":{"amount":` + moneySchema +
		`,"discount":` + moneySchema + `,"merchant":{"type":"string"},"reason":{"type":"string"}}}`
	deviceSchema  = `{"type":"object","properties":{"reason":{"type":"string"}}}`
	messageSchema = `{"type":"object","required":["band_text"],"additionalProperties":false,"properties":{` +
		`"band_text":{"type":"string","minLength":1,"maxLength":18},"phone_text":{"type":"string","maxLength":200}}}`
)

func amounts(en, zh string, fixedEN, fixedZH string) (enBand, zhBand []string) {
	return []string{en + " {amount|money}", "{amount|money}", fixedEN}, []string{zh + " {amount|money}", "{amount|money}", fixedZH}
}

// BuiltIn is the built-in type of that id; false when there is none.
func BuiltIn(id string) (Content, bool) {
	c, ok := builtIns[id]
	return c, ok
}

// BuiltIns are the ids of the built-in types, sorted.
func BuiltIns() []string {
	ids := make([]string, 0, len(builtIns))
	for id := range builtIns {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

var builtIns = func() map[string]Content {
	all := map[string]Content{}
	for _, list := range [][]builtIn{paymentKinds(), deviceKinds(), otherKinds()} {
		for _, b := range list {
			all[b.id] = b.content()
		}
	}
	return all
}()

func (b builtIn) content() Content {
	c := Content{
		DisplayName: b.name, Category: b.category, Priority: b.priority, Schema: b.schema, DefaultLocale: "en", Throttle: b.throttle,
	}
	for _, in := range []struct {
		locale string
		wording
	}{{"en", b.en}, {"zh", b.zh}} {
		c.Templates = append(c.Templates,
			TemplateSpec{Surface: Band, Locale: in.locale, Texts: in.band, Icon: b.icon, Vibration: b.vibration, Words: in.words},
			TemplateSpec{Surface: Phone, Locale: in.locale, Title: in.title, Texts: []string{in.phone}, Icon: b.icon, Words: in.words})
	}
	return c
}

func paymentKinds() []builtIn {
	kind := func(id, name string, p Priority, v Vibration, en, zh wording) builtIn {
		category := Payments
		return builtIn{id: id, name: name, category: category, priority: p, icon: "wallet", vibration: v, schema: paymentSchema, en: en, zh: zh}
	}
	// The band has room for what was paid; what a voucher took off is said on the phone.
	say := func(word, fixed, title, phone string) wording {
		return wording{band: []string{word + " {amount|money}", "{amount|money}", fixed}, title: title, phone: phone}
	}
	declined := kind(PaymentDeclined, "Payment declined", High, VibrateOneLong,
		wording{
			band: []string{"Declined {amount|money}", "Declined"}, title: "Payment declined",
			phone: "The payment of {amount|money}[ to {merchant}] was declined: {reason|words}.", words: reasonsEN,
		},
		wording{
			band: []string{"拒付 {amount|money}", "付款被拒"}, title: "付款被拒",
			phone: "[向{merchant}]支付{amount|money}未成功：{reason|words}。", words: reasonsZH,
		})
	return []builtIn{
		kind(PaymentAuthorized, "Payment authorized", Normal, VibrateOneShort,
			say("Held", "Held: see phone", "Amount held", "{amount|money} is held[ for {merchant}][, {discount|money} off with a voucher]."),
			say("预授权", "预授权", "预授权成功", "[{merchant}]预授权{amount|money}[，礼券抵扣{discount|money}]。")),
		kind(PaymentCaptured, "Payment", High, VibrateOneShort,
			say("Paid", "Paid: see phone", "Paid", "Paid {amount|money}[ to {merchant}][, {discount|money} off with a voucher]."),
			say("已付", "已付款", "付款成功", "[已向{merchant}支付]{amount|money}[，礼券抵扣{discount|money}]。")),
		declined,
		kind(PaymentExpired, "Payment expired", Low, VibrateNone,
			say("Lapsed", "Payment lapsed", "Payment lapsed", "The payment of {amount|money}[ to {merchant}] lapsed; nothing was taken."),
			say("失效", "付款已失效", "付款已失效", "[向{merchant}支付]{amount|money}已失效，未扣款。")),
		kind(PaymentVoided, "Payment cancelled", Low, VibrateNone,
			say("Void", "Payment cancelled", "Payment cancelled", "The payment of {amount|money}[ to {merchant}] was cancelled; nothing was taken."),
			say("取消", "付款已取消", "付款已取消", "[向{merchant}支付]{amount|money}已取消，未扣款。")),
		kind(PaymentReleased, "Hold released", Low, VibrateNone,
			say("Freed", "Hold released", "Hold released", "The hold of {amount|money}[ by {merchant}] was released."),
			say("解冻", "预授权解冻", "预授权解冻", "[{merchant}]预授权的{amount|money}已解冻。")),
		kind(PaymentRefunded, "Refund", Normal, VibrateTwoShort,
			say("Refund", "Refund: see phone", "Refund", "Refund of {amount|money}[ from {merchant}]."), say("退款", "已退款", "已退款", "[{merchant}]退款{amount|money}。")),
		kind(AccountToppedUp, "Money added", Normal, VibrateOneShort,
			say("Added", "Money added", "Money added", "{amount|money} was added to your account."), say("充值", "已充值", "充值成功", "已充值{amount|money}。")),
		kind(AccountOverdrawn, "Account overdrawn", High, VibrateOneLong,
			say("Owed", "Account overdrawn", "Account overdrawn", "Your account owes {amount|money} after a tap without a connection. Add money."),
			say("欠款", "账户透支", "账户透支", "离线消费后账户欠款{amount|money}，请充值。")),
		kind(DebtCollected, "Debt paid back", Normal, VibrateOneShort,
			say("Settled", "Debt paid back", "Debt paid back", "{amount|money} that you owed was taken from your account."),
			say("还款", "已还款", "已还款", "已从账户扣还欠款{amount|money}。")),
		kind(AccountWithdrawn, "Money withdrawn", Normal, VibrateOneShort,
			say("Out", "Money withdrawn", "Money withdrawn", "{amount|money} was paid out of your account."), say("提现", "已提现", "提现成功", "已提现{amount|money}。")),
	}
}

var reasonsEN = map[string]string{
	"INSUFFICIENT_FUNDS": "there is not enough money in the account", "TAP_DECLINED": "it was refused on the band",
	"DEVICE_SUSPENDED": "the band is suspended", "CLONE_SUSPECTED": "the band needs a check; contact support",
	"*": "it could not be completed",
}

var reasonsZH = map[string]string{
	"INSUFFICIENT_FUNDS": "余额不足", "TAP_DECLINED": "已在手环上拒绝", "DEVICE_SUSPENDED": "手环已停用", "CLONE_SUSPECTED": "手环需要检查，请联系客服",
	"*": "交易未能完成",
}

func deviceKinds() []builtIn {
	kind := func(id, name string, c Category, p Priority, v Vibration, en, zh wording) builtIn {
		return builtIn{id: id, name: name, category: c, priority: p, icon: "band", vibration: v, schema: deviceSchema, en: en, zh: zh}
	}
	say := func(band, title, phone string, words map[string]string) wording {
		return wording{band: []string{band}, title: title, phone: phone, words: words}
	}
	return []builtIn{
		kind(DeviceBound, "Band added", Security, High, VibrateTwoShort,
			say("Band added", "Band added", "A band was added to your account. If this was not you, report it lost now.", nil),
			say("手环已绑定", "手环已绑定", "您的账户绑定了一只手环。如非本人操作，请立即挂失。", nil)),
		kind(DeviceReleased, "Band removed", Security, High, VibrateTwoShort,
			say("Band removed", "Band removed", "A band was removed from your account. It pays for you no more.", nil),
			say("手环已解绑", "手环已解绑", "一只手环已从您的账户解绑，不能再为您付款。", nil)),
		kind(DeviceSuspended, "Band suspended", Security, Critical, VibrateOneLong,
			say("Band suspended", "Band suspended", "Your band {reason|words}. It pays for nobody until this is lifted.",
				map[string]string{"OWNER_LOST": "was reported lost", "CLONE_SUSPECTED": "may have been copied", "*": "was suspended"}),
			say("手环已停用", "手环已停用", "您的手环{reason|words}，解除前不能付款。",
				map[string]string{"OWNER_LOST": "已挂失", "CLONE_SUSPECTED": "可能被复制", "*": "已停用"})),
		kind(SuspensionLifted, "Suspension lifted", Security, High, VibrateTwoShort,
			say("Band active", "Band active again", "A suspension of your band was lifted.", nil),
			say("手环已恢复", "手环已恢复", "您的手环已解除停用。", nil)),
		kind(DeviceEnded, "Band ended", Security, High, VibrateOneLong,
			say("Band ended", "Band out of service", "Your band was taken out of service for good. It pays no more.", nil),
			say("手环已注销", "手环已注销", "您的手环已永久停用，不能再付款。", nil)),
		kind(CloneSuspected, "Copy suspected", Security, Critical, VibrateOneLong,
			say("Check your band", "Your band may have been copied", "Somebody used what may be a copy of your band. Contact support.", nil),
			say("手环异常", "手环可能被复制", "有人可能使用了您手环的复制品，请联系客服。", nil)),
		kind(AccountClosed, "Account closed", Security, High, VibrateOneLong,
			say("Account closed", "Account closed", "Your account was closed.", nil), say("账户已关闭", "账户已关闭", "您的账户已关闭。", nil)),
		kind(AccountFrozen, "Account frozen", Security, High, VibrateOneLong,
			say("Account frozen", "Account frozen", "Your account was frozen. It pays nothing until this is lifted. Contact support.", nil),
			say("账户已冻结", "账户已冻结", "您的账户已冻结，解除前不能付款，请联系客服。", nil)),
		kind(AccountUnfrozen, "Account unfrozen", Security, High, VibrateTwoShort,
			say("Account active", "Account active again", "Your account is no longer frozen.", nil),
			say("账户已解冻", "账户已恢复", "您的账户已解除冻结。", nil)),
	}
}

func otherKinds() []builtIn {
	issued, issuedZH := amounts("Gift", "礼券", "New voucher", "新礼券")
	redeemed, redeemedZH := amounts("Voucher", "礼券", "Voucher redeemed", "礼券已使用")
	voucherSchema := `{"type":"object","properties":{"amount":` + moneySchema + `}}`
	message := wording{band: []string{"{band_text}", "See phone"}, phone: "{phone_text}"}
	return []builtIn{
		{
			id: VoucherIssued, name: "Voucher issued", category: Vouchers, priority: Low, icon: "gift", schema: voucherSchema,
			en: wording{band: issued, title: "New voucher", phone: "You got a voucher[ of {amount|money}]."},
			zh: wording{band: issuedZH, title: "新礼券", phone: "您收到一张[{amount|money}的]礼券。"},
		},
		{
			id: VoucherRedeemed, name: "Voucher redeemed", category: Vouchers, priority: Normal, icon: "gift", vibration: VibrateTwoShort,
			schema: voucherSchema,
			en:     wording{band: redeemed, title: "Voucher redeemed", phone: "Your voucher[ of {amount|money}] was redeemed."},
			zh:     wording{band: redeemedZH, title: "礼券已使用", phone: "您的[{amount|money}]礼券已使用。"},
		},
		{
			id: PartnerMessage, name: "Message", category: Partners, priority: Normal, icon: "message", vibration: VibrateTwoShort,
			schema: messageSchema, en: message, zh: wording{band: []string{"{band_text}", "见手机"}, phone: "{phone_text}"},
			throttle: Throttle{Max: 1000, Period: time.Hour},
		},
	}
}
