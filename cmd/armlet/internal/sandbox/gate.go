package sandbox

import (
	"context"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// Names of the sandbox's transport company, whose gates take taps without a connection.
const (
	Metro    = "Hua's Metro"
	MetroMCC = 4111
)

// OpenGate registers a transport company with a gate and a back office, and connects the office, which clears the gate's taps.
func (s *Sandbox) OpenGate(ctx context.Context) (*virtual.Gate, *virtual.Terminal, error) {
	metro, err := s.Operator.Payments.CreateMerchant(ctx, &paymentsv1.CreateMerchantRequest{
		Merchant:  &paymentsv1.Merchant{DisplayName: Metro, CategoryCode: MetroMCC, CurrencyCode: Currency},
		RequestId: "sandbox-metro",
	})
	if err != nil {
		return nil, nil, err
	}
	gate, err := s.Operator.Payments.CreateTerminal(ctx, &paymentsv1.CreateTerminalRequest{Merchant: metro.GetName(), DisplayName: "Gate 1", RequestId: "sandbox-gate"})
	if err != nil {
		return nil, nil, err
	}
	office, err := s.Operator.Payments.CreateTerminal(ctx, &paymentsv1.CreateTerminalRequest{Merchant: metro.GetName(), DisplayName: "Office", RequestId: "sandbox-office"})
	if err != nil {
		return nil, nil, err
	}
	session, err := s.Operator.Auth.CreateTerminalSession(ctx, &authv1.CreateTerminalSessionRequest{Merchant: metro.GetName(), Terminal: office.GetName()})
	if err != nil {
		return nil, nil, err
	}
	client, err := s.dial(sdk.StaticToken(session.GetAccessToken()))
	if err != nil {
		return nil, nil, err
	}
	return &virtual.Gate{Name: gate.GetName(), CategoryCode: MetroMCC, Currency: Currency}, &virtual.Terminal{Client: client, Merchant: metro.GetName()}, nil
}
