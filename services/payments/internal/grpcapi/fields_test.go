package grpcapi_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/proto/wire"
)

// bad is a value that a field cannot have, or that is good in itself and wrong for what there is, with the reason that is
// answered. nil is no value at all; of a list it is one element.
type bad struct {
	value  any
	reason string
}

const invalid = "INVALID_FIELD"

// codesOf are the codes of the reasons.
var codesOf = map[string]codes.Code{
	invalid: codes.InvalidArgument, "AMOUNT_NOT_POSITIVE": codes.InvalidArgument, "PAGE_TOKEN_INVALID": codes.InvalidArgument,
	"ACCOUNT_NOT_FOUND": codes.NotFound, "LEDGER_ACCOUNT_NOT_FOUND": codes.NotFound, "MERCHANT_NOT_FOUND": codes.NotFound, "TERMINAL_NOT_FOUND": codes.NotFound, "PAYMENT_NOT_FOUND": codes.NotFound,
	"SETTLEMENT_NOT_FOUND": codes.NotFound, "TRANSACTION_NOT_FOUND": codes.NotFound, "DEVICE_NOT_FOUND": codes.NotFound, "LIMIT_POLICY_NOT_FOUND": codes.NotFound,
	"ACCOUNT_EXISTS": codes.AlreadyExists, "CALLER_NOT_ALLOWED": codes.PermissionDenied, "RESPONSE_REJECTED": codes.PermissionDenied,
}

// ofName are bad values of fields that mean the same everywhere, by the last part of their path.
var ofName = map[string][]bad{
	"request_id":    {{nil, invalid}, {"a b", invalid}, {"é", invalid}, {strings.Repeat("x", 65), invalid}},
	"page_size":     {{int32(-1), invalid}, {int32(1001), invalid}, {int32(math.MinInt32), invalid}, {int32(math.MaxInt32), invalid}},
	"page_token":    {{"nonsense", "PAGE_TOKEN_INVALID"}, {strings.Repeat("A", 512), "PAGE_TOKEN_INVALID"}, {strings.Repeat("A", 513), invalid}},
	"start_time":    {{&timestamppb.Timestamp{Seconds: -1}, invalid}, {&timestamppb.Timestamp{Seconds: math.MaxInt64}, invalid}},
	"end_time":      {{&timestamppb.Timestamp{Seconds: -1}, invalid}, {&timestamppb.Timestamp{Seconds: math.MaxInt64}, invalid}},
	"minor_units":   {{int64(0), "AMOUNT_NOT_POSITIVE"}, {int64(-1), "AMOUNT_NOT_POSITIVE"}, {int64(math.MinInt64), "AMOUNT_NOT_POSITIVE"}},
	"currency_code": {{"", invalid}, {"cny", invalid}, {"CNYY", invalid}, {"C1Y", invalid}},
}

// names is how a name of one collection can be bad; one that nobody has is answered with the reason.
func names(collection, unknown, reason string) []bad {
	out := []bad{
		{nil, invalid}, {"x", invalid}, {collection, invalid}, {collection + "/", invalid}, {collection + "/A B", invalid},
		{unknown[strings.IndexByte(unknown, '/')+1:], invalid}, {unknown + "/", invalid}, {collection + "/" + strings.Repeat("a", 200), invalid},
	}
	if reason != "" {
		out = append(out, bad{unknown, reason})
	}
	return out
}

// tooMuch adds what the largest amount and another currency come to.
func tooMuch(reason string) []bad { return []bad{{int64(math.MaxInt64), reason}} }

func badAmounts(path, largest string) map[string][]bad {
	return map[string][]bad{
		path + ".minor_units":   append(tooMuch(largest), ofName["minor_units"]...),
		path + ".currency_code": append([]bad{{"EUR", "CURRENCY_MISMATCH"}}, ofName["currency_code"]...),
	}
}

// anything is for fields that can have any value of their type; the rest of the text says why.
const anything = "anything: "

// table has the bad values of every field of every request, by RPC and path.
func (s *stage) table() map[string]map[string]any {
	account, merchant := names("accounts", "accounts/nobody", "ACCOUNT_NOT_FOUND"), names("merchants", "merchants/"+noUUID, "MERCHANT_NOT_FOUND")
	terminal, payment := names("terminals", "terminals/0123456789abcdef", "TERMINAL_NOT_FOUND"), names("payments", "payments/"+noUUID, "PAYMENT_NOT_FOUND")
	settlement := names("settlements", "settlements/"+noUUID, "SETTLEMENT_NOT_FOUND")
	least := []bad{{int64(-1), invalid}, {int64(math.MinInt64), invalid}}
	code := []bad{{uint32(0), invalid}, {uint32(10000), invalid}, {uint32(math.MaxUint32), invalid}}
	zone := []bad{{"Nowhere/Atall", invalid}, {"Local", invalid}, {strings.Repeat("x", 65), invalid}, {"../etc", invalid}}
	shop := map[string]any{
		"merchant": []bad{{nil, invalid}}, "merchant.display_name": []bad{{"", invalid}, {strings.Repeat("x", 25), invalid}, {"a\x00b", invalid}, {"a\nb", invalid}},
		"merchant.category_code":                   code,
		"merchant.fee_schedule":                    anything + "none is no fee",
		"merchant.fee_schedule.basis_points":       []bad{{uint32(10001), invalid}, {uint32(math.MaxUint32), invalid}},
		"merchant.fee_schedule.fixed_minor_units":  least,
		"merchant.fee_schedule.returned_on_refund": anything + "yes or no",
		"merchant.settlement":                      anything + "none is midnight in UTC",
		"merchant.settlement.cut_off":              []bad{{"24:00", invalid}, {"12:60", invalid}, {"noon", invalid}, {"1:00", invalid}},
		"merchant.settlement.time_zone":            zone,
		"merchant.settlement.payout_account":       []bad{{strings.Repeat("x", 65), invalid}, {strings.Repeat("é", 40), invalid}},
		"merchant.create_time":                     anything + "ignored", "merchant.create_time.seconds": anything + "ignored", "merchant.create_time.nanos": anything + "ignored",
		"merchant.suspended": anything + "ignored",
	}
	with := func(parts ...map[string]any) map[string]any {
		out := map[string]any{}
		for _, p := range parts {
			for k, v := range p {
				out[k] = v
			}
		}
		return out
	}
	amount := func(path, largest string) map[string]any {
		out := map[string]any{}
		for k, v := range badAmounts(path, largest) {
			out[k] = v
		}
		return out
	}
	one := func(path string, v any) map[string]any { return map[string]any{path: v} }
	optional := anything + "all there is when it is not given"
	period := map[string]any{"start_time.seconds": anything + "see start_time", "start_time.nanos": anything + "see start_time", "end_time.seconds": anything + "see end_time", "end_time.nanos": anything + "see end_time"}
	return map[string]map[string]any{
		"CreateAccount": {
			"account_id":    []bad{{"", invalid}, {"Alice", invalid}, {"-a", invalid}, {"a/b", invalid}, {strings.Repeat("a", 64), invalid}, {"alice", "ACCOUNT_EXISTS"}},
			"currency_code": ofName["currency_code"],
		},
		"GetAccount":          one("name", account),
		"TopUpAccount":        with(one("name", account), amount("amount", "BALANCE_OVERFLOW"), one("amount", []bad{{nil, invalid}})),
		"WithdrawFromAccount": with(one("name", account), amount("amount", "BALANCE_OVERFLOW"), one("amount", []bad{{nil, invalid}})),
		"CloseAccount":        one("name", append([]bad{{"accounts/alice", "ACCOUNT_NOT_EMPTY"}}, account...)),
		"FreezeAccount": with(one("name", account), one("reason", []bad{
			{nil, invalid}, {strings.Repeat("x", 201), invalid}, {"a\x00b", invalid}, {"a\nb", invalid},
		})),
		"UnfreezeAccount": one("name", account),
		"GetBalance": {
			"ledger_account":  []bad{{nil, invalid}, {strings.Repeat("x", 81), invalid}, {"wallet/nobody", "LEDGER_ACCOUNT_NOT_FOUND"}, {"alice", "LEDGER_ACCOUNT_NOT_FOUND"}},
			"at_time":         []bad{{&timestamppb.Timestamp{Seconds: -1}, invalid}, {&timestamppb.Timestamp{Seconds: math.MaxInt64}, invalid}},
			"at_time.seconds": anything + "see at_time", "at_time.nanos": anything + "see at_time",
		},
		"GetStatement": with(one("name", account), period),
		"CreateMerchant": with(shop, map[string]any{
			"merchant.name": anything + "ignored", "merchant.currency_code": ofName["currency_code"],
		}),
		"UpdateMerchant": with(shop, map[string]any{
			"merchant.name": []bad{{"merchants/" + noUUID, "MERCHANT_NOT_FOUND"}, {"", "MERCHANT_NOT_FOUND"}}, "merchant.currency_code": anything + "ignored",
			"update_mask":       []bad{{nil, invalid}},
			"update_mask.paths": []bad{{nil, invalid}, {"currency_code", invalid}, {"suspended", invalid}, {"", invalid}, {"fee_schedule.basis_points", invalid}},
		}),
		"GetMerchant": one("name", merchant), "ListMerchants": {}, "SuspendMerchant": one("name", merchant), "ResumeMerchant": one("name", merchant),
		"CreateTerminal": {"merchant": merchant, "display_name": []bad{{"", invalid}, {strings.Repeat("x", 81), invalid}}},
		"GetTerminal":    one("name", terminal), "ListTerminals": one("merchant", merchant), "SuspendTerminal": one("name", terminal), "ResumeTerminal": one("name", terminal),
		"CreatePayment": {
			"merchant": append([]bad{{s.otherMerchant, "CALLER_NOT_ALLOWED"}}, names("merchants", "merchants/"+noUUID, "CALLER_NOT_ALLOWED")...),
			"amount":   []bad{{nil, invalid}}, "amount.minor_units": ofName["minor_units"],
			"amount.currency_code": badAmounts("amount", "")["amount.currency_code"],
			"device_uid": []bad{
				{nil, invalid}, {"x", invalid}, {strings.Repeat("z", 26), invalid}, {strings.ToUpper(bandUID), invalid}, {wire.NewRangeUID(9, 9, 9).String(), "DEVICE_NOT_FOUND"},
			},
			"account":      append([]bad{{"accounts/eve", "CURRENCY_MISMATCH"}}, names("accounts", "accounts/nobody", "ACCOUNT_NOT_FOUND")[1:]...),
			"voucher_code": []bad{{"short", invalid}, {strings.Repeat("a", 25), invalid}, {"0123456789abcd!", invalid}},
			"capture_mode": []bad{{protoreflect.EnumNumber(99), invalid}, {protoreflect.EnumNumber(-1), invalid}},
		},
		"ConfirmPayment": {
			"name": payment, "response_frame": []bad{{nil, invalid}, {make([]byte, 257), invalid}, {[]byte("another band's"), "RESPONSE_REJECTED"}},
		},
		"AuthorizePayment": {
			"name": payment, "assertion": []bad{{nil, invalid}, {strings.Repeat("x", 4097), invalid}, {"a.b.c", "ASSERTION_MISMATCH"}},
		},
		"CapturePayment": with(one("name", append([]bad{{s.captured.GetName(), "PAYMENT_STATE"}}, payment...)), amount("amount", "AMOUNT_EXCEEDS_AUTHORIZED"),
			map[string]any{"amount": optional, "final": anything + "yes or no"}),
		"VoidPayment":   one("name", append([]bad{{s.captured.GetName(), "PAYMENT_STATE"}}, payment...)),
		"RefundPayment": with(one("name", append([]bad{{s.held.GetName(), "PAYMENT_STATE"}}, payment...)), amount("amount", "AMOUNT_EXCEEDS_CAPTURED"), one("amount", optional)),
		"GetPayment":    one("name", payment), "WatchPayment": one("name", payment),
		"ListPayments": with(period, map[string]any{
			"states":        []bad{{protoreflect.EnumNumber(0), invalid}, {protoreflect.EnumNumber(99), invalid}},
			"merchant":      names("merchants", "merchants/"+noUUID, "")[1:],
			"terminal":      names("terminals", "terminals/0123456789abcdef", "")[1:],
			"account":       names("accounts", "accounts/nobody", "")[1:],
			"device":        []bad{{"x", invalid}, {"partners/acme/devices/x", invalid}, {band + "/", invalid}},
			"currency_code": ofName["currency_code"][1:],
		}),
		"SubmitOfflineTaps": {
			"sequence": anything + "the caller's own", "fare": []bad{{nil, invalid}}, "fare.currency_code": ofName["currency_code"],
			"fare.minor_units": anything + "answered in the stream", "terminal_frame": []bad{{make([]byte, 65), invalid}}, "tap_frame": []bad{{make([]byte, 257), invalid}},
		},
		"SetLimitPolicy": {
			"name":   append([]bad{{"limitPolicies/jpy", invalid}}, names("limitPolicies", "limitPolicies/JPYY", invalid)...),
			"policy": []bad{{nil, invalid}}, "policy.name": anything + "ignored", "policy.update_time": anything + "ignored",
			"policy.update_time.seconds": anything + "ignored", "policy.update_time.nanos": anything + "ignored",
			"policy.tap_limit": least, "policy.account_day_limit": least, "policy.device_day_limit": least, "policy.time_zone": zone,
			"policy.category_limits": anything + "see its fields", "policy.category_limits.first_category_code": append([]bad{{uint32(3), invalid}}, code...),
			"policy.category_limits.last_category_code": code, "policy.category_limits.tap_limit": least, "policy.category_limits.day_limit": least,
			"policy.strong_authentication":                       anything + "none is never",
			"policy.strong_authentication.tap_threshold":         least,
			"policy.strong_authentication.cumulative_threshold":  least,
			"policy.strong_authentication.consecutive_taps":      []bad{{uint32(1001), invalid}},
			"policy.strong_authentication.counting":              []bad{{protoreflect.EnumNumber(99), invalid}},
			"policy.strong_authentication.assurance_level":       []bad{{uint32(4), invalid}},
			"policy.strong_authentication.exempt_category_codes": []bad{{uint32(0), invalid}, {uint32(10000), invalid}},
			"preset": []bad{{protoreflect.EnumNumber(99), invalid}, {protoreflect.EnumNumber(1), invalid}}, // with a policy beside it
		},
		"GetLimitPolicy":    one("name", append([]bad{{"limitPolicies/CHF", "LIMIT_POLICY_NOT_FOUND"}}, names("limitPolicies", "limitPolicies/EURO", invalid)...)),
		"DeleteLimitPolicy": one("name", names("limitPolicies", "limitPolicies/EURO", invalid)),
		"ListLimitPolicies": {}, "GetTrialBalance": {}, "VerifyLedger": {},
		"ListSettlements": one("merchant", names("merchants", "merchants/"+noUUID, "")[1:]),
		"GetSettlement":   one("name", settlement), "ExportSettlementReport": one("name", settlement),
		"ReverseTransfer": one("transaction", names("transactions", "transactions/"+noUUID, "TRANSACTION_NOT_FOUND")),
		"PostTransfers": {
			"transfers": anything + "see its fields, and TestABatchOfTransfersHasItsBounds", "transfers.transfer_id": ofName["request_id"],
			"transfers.debit_account":  []bad{{nil, invalid}, {strings.Repeat("x", 81), invalid}},
			"transfers.credit_account": []bad{{nil, invalid}, {strings.Repeat("x", 81), invalid}},
			"transfers.amount":         []bad{{nil, invalid}}, "transfers.amount.minor_units": anything + "answered for each transfer",
			"transfers.amount.currency_code": ofName["currency_code"], "linked": anything + "yes or no",
		},
	}
}

// Every field of every request: a bad value gets its reason and changes nothing. A new field has to be put into the table.
func TestBadInputOfEveryFieldChangesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	table := s.table()
	for _, name := range methods() {
		cases, ok := table[name]
		if !ok {
			t.Errorf("the table says nothing of %s", name)
			continue
		}
		before := s.snapshot(t)
		for _, path := range paths(service.Methods().ByName(protoreflect.Name(name)).Input(), "") {
			found := cases[path]
			if found == nil {
				found, ok = ofName[path[strings.LastIndexByte(path, '.')+1:]]
				if !ok {
					t.Errorf("%s: the field %s has no case", name, path)
				}
			}
			values, _ := found.([]bad)
			for _, b := range values {
				in := s.requests(t)[name]
				set(in.ProtoReflect(), path, b.value)
				err := call(t.Context(), s.conns[by(name)], name, in)
				code, ok := codesOf[b.reason]
				if !ok {
					code = codes.FailedPrecondition
				}
				wants{code, b.reason}.check(t, name+" with "+path+" "+show(b.value), err)
			}
		}
		s.unchanged(t, name, before)
		if err := call(t.Context(), s.conns[by(name)], name, s.requests(t)[name]); err != nil {
			t.Errorf("%s: the good request: %v", name, err)
		}
	}
	s.balanced(t)
}

func show(v any) string {
	text := fmt.Sprintf("%q", fmt.Sprint(v))
	return text[:min(len(text), 60)]
}

// paths are all fields of a message and of the messages in it.
func paths(m protoreflect.MessageDescriptor, prefix string) (out []string) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		path := prefix + string(f.Name())
		out = append(out, path)
		if f.Message() != nil {
			out = append(out, paths(f.Message(), path+".")...)
		}
	}
	return out
}

// set gives the field a value, or none when it is nil.
func set(m protoreflect.Message, path string, value any) {
	name, rest, deeper := strings.Cut(path, ".")
	f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	switch {
	case deeper && f.IsList():
		set(m.Mutable(f).List().Get(0).Message(), rest, value)
	case deeper:
		set(m.Mutable(f).Message(), rest, value)
	case value == nil:
		m.Clear(f)
	case f.IsList():
		list := m.NewField(f).List()
		list.Append(protoreflect.ValueOf(value))
		m.Set(f, protoreflect.ValueOfList(list))
	default:
		if msg, ok := value.(proto.Message); ok {
			value = msg.ProtoReflect()
		}
		m.Set(f, protoreflect.ValueOf(value))
	}
}
