// Package bench measures what belongs to no single service.
package bench

import (
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

const uid = "00000000n1s4rk0c9h4gk0c9h4"

// tap are the requests of one tap, in the order the services see them.
var tap = map[string]proto.Message{
	"1 CreatePayment": &paymentsv1.CreatePaymentRequest{
		Merchant: "merchants/0198c0de-0000-7000-8000-000000000001",
		Amount:   &typev1.Money{MinorUnits: 1200, CurrencyCode: "CNY"},
		Payer:    &paymentsv1.CreatePaymentRequest_DeviceUid{DeviceUid: uid}, RequestId: "0198c0de-0000-7000-8000-00000000000a",
	},
	"2 CreateChallenge": &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_PAY, Subject: &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: uid},
		Amount:      &typev1.Money{MinorUnits: 1200, CurrencyCode: "CNY"},
		MerchantUid: make([]byte, 16), MerchantCategoryCode: 5812, IntentUid: make([]byte, 16),
		Display: "Hua's Dumplings", RequestId: "0198c0de-0000-7000-8000-00000000000b",
	},
	"3 CheckDevice": &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: uid}},
	"4 ConfirmPayment": &paymentsv1.ConfirmPaymentRequest{
		Name: "payments/0198c0de-0000-7000-8000-000000000002", ResponseFrame: make([]byte, 32),
	},
	"5 VerifyResponse": &authv1.VerifyResponseRequest{
		Challenge: "challenges/0198c0de000070008000000000000002", ResponseFrame: make([]byte, 32),
	},
}

// BenchmarkValidate is the cost of checking the field rules of each request of a tap.
func BenchmarkValidate(b *testing.B) {
	for name, m := range tap {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := protovalidate.Validate(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestTheBenchmarkedRequestsAreValid(t *testing.T) {
	for name, m := range tap {
		if err := protovalidate.Validate(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
