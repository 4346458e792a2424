package peers_test

import (
	"testing"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/peers"
)

func TestWithoutNotifyAVoucherIsPlainlyUnavailable(t *testing.T) {
	conn, err := rpc.Dial(testkit.Addr(t), rpc.DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := peers.NewNotify(conn)
	_, err = n.Reserve(t.Context(), payment.VoucherUse{Code: "0123456789abcde", Payment: intent, Price: payment.Money{Minor: 1, Currency: "CNY"}})
	if fault.KindOf(err) != fault.Unavailable || fault.ReasonOf(err) != "VOUCHERS_UNAVAILABLE" {
		t.Errorf("reserve: %v", err)
	}
	if err := n.Cancel(t.Context(), intent); err == nil {
		t.Error("a cancellation that nobody heard was taken for done")
	}
	for range 3000 { // more than can wait: nobody waits for it
		n.Tell(intent, true)
	}
}
