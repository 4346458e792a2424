// Package sandbox sets up what a first tap needs in a running suite: a partner
// with a lot of bands, a wearer with a band and money, and a merchant with a
// terminal. Every step can be repeated: done once, it only finds what is there.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// Names of what the sandbox sets up.
const (
	Partner  = "partners/sandbox"
	Model    = "partners/sandbox/models/w1"
	LotNo    = 1
	LotSize  = 1000
	Account  = "accounts/wearer"
	Currency = "CNY"
	Shop     = "Hua's Dumplings"
	ShopMCC  = 5812

	partnerClient  = "sandbox-backend"
	operatorClient = "operator"
)

// Scopes are what the sandbox's partner is granted: payments, alerts and vouchers,
// and what a maker of bands always needs.
var Scopes = []string{
	"devices.provision", "devices.read", "payments.initiate", "payments.read",
	"alerts.send", "alerts.types", "vouchers.issue", "vouchers.verify", "vouchers.redeem", "events.subscribe", "events.publish", "presence.verify",
}

// Sandbox is the way to a running suite in each of the roles that a tap needs.
type Sandbox struct {
	Endpoints sdk.Endpoints
	Dir       string // where the keys and the virtual band are kept

	Operator       *sdk.Client
	OperatorTokens sdk.TokenSource
	Partner        *sdk.Client // set by Connect once the partner exists, or by RegisterPartner
	tokens         sdk.TokenSource

	options []sdk.Option
	clients []*sdk.Client
}

// Open connects as the operator with the key in the suite's data folder. The
// options are used for every connection.
func Open(endpoints sdk.Endpoints, dir string, options ...sdk.Option) (*Sandbox, error) {
	key, err := sdk.LoadKey(filepath.Join(dir, "operator.jwk.json"))
	if err != nil {
		return nil, fmt.Errorf("%w; is --data the folder that `armlet up` runs on?", err)
	}
	s := &Sandbox{Endpoints: endpoints, Dir: dir, OperatorTokens: sdk.ClientCredentials(endpoints.TokenURL, operatorClient, key), options: options}
	s.Operator, err = s.dial(s.OperatorTokens)
	return s, err
}

// Close ends all connections.
func (s *Sandbox) Close() error {
	var errs []error
	for _, c := range s.clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (s *Sandbox) dial(tokens sdk.TokenSource) (*sdk.Client, error) {
	c, err := sdk.Dial(s.Endpoints, append([]sdk.Option{sdk.WithTokens(tokens)}, s.options...)...)
	if err != nil {
		return nil, err
	}
	s.clients = append(s.clients, c)
	return c, nil
}

// RegisterPartner registers the partner with its grants and connects as it.
func (s *Sandbox) RegisterPartner(ctx context.Context) (*authv1.Partner, error) {
	partner, err := s.Operator.Auth.CreatePartner(ctx, &authv1.CreatePartnerRequest{
		PartnerId: strings.TrimPrefix(Partner, "partners/"), DisplayName: "Sandbox Bands", RequestId: "sandbox-partner",
	})
	if err != nil {
		return nil, err
	}
	for _, scope := range Scopes {
		if _, err := s.Operator.Auth.CreateGrant(ctx, &authv1.CreateGrantRequest{
			Parent: Partner, Scope: scope, RequestId: "sandbox-grant-" + scope,
		}); err != nil {
			return nil, err
		}
	}
	key, err := sdk.LoadOrCreateKey(filepath.Join(s.Dir, "partner.jwk.json"))
	if err != nil {
		return nil, err
	}
	public, err := key.PublicJWK()
	if err != nil {
		return nil, err
	}
	if _, err := s.Operator.Auth.CreateClient(ctx, &authv1.CreateClientRequest{
		ClientId: partnerClient, Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: Partner,
		PublicJwk: public, Mode: typev1.Mode_MODE_LIVE, RequestId: "sandbox-client",
	}); err != nil {
		return nil, err
	}
	s.tokens = sdk.ClientCredentials(s.Endpoints.TokenURL, partnerClient, key)
	s.Partner, err = s.dial(s.tokens)
	return partner, err
}

// PartnerToken is the partner's access token, which also opens its NATS account.
func (s *Sandbox) PartnerToken(ctx context.Context) (string, error) { return s.tokens.Token(ctx) }

// CreateLot registers the model and a lot of LotSize bands.
func (s *Sandbox) CreateLot(ctx context.Context) (*devicesv1.Lot, error) {
	if _, err := s.Partner.Devices.CreateModel(ctx, &devicesv1.CreateModelRequest{
		Parent: Partner, ModelId: "w1", RequestId: "sandbox-model",
		Model: &devicesv1.Model{
			DisplayName: "W1 woven band", Suites: []devicesv1.Suite{devicesv1.Suite_SUITE_HMAC_SHA256},
			HasDisplay: true, HasWristDetection: true,
		},
	}); err != nil {
		return nil, err
	}
	return s.Partner.Devices.CreateLot(ctx, &devicesv1.CreateLotRequest{
		Parent: Partner, LotNo: LotNo, Model: Model, Suite: devicesv1.Suite_SUITE_HMAC_SHA256,
		KeyEpoch: 1, FirstSerial: 1, DeviceCount: LotSize, RequestId: "sandbox-lot",
	})
}

// MakeBand lets a virtual factory make the n-th band of the lot, from 0. The
// factory unwraps the partner's master key, as a real one does.
func (s *Sandbox) MakeBand(ctx context.Context, lot *devicesv1.Lot, n uint64) (*virtual.Band, error) {
	factory, err := virtual.NewFactory()
	if err != nil {
		return nil, err
	}
	recipient, err := factory.RecipientJWK()
	if err != nil {
		return nil, err
	}
	wrapped, err := s.Partner.Auth.ExportMasterKey(ctx, &authv1.ExportMasterKeyRequest{
		Partner: Partner, KeyEpoch: lot.GetKeyEpoch(), RecipientJwk: recipient,
	})
	if err != nil {
		return nil, err
	}
	if err := factory.Load(wrapped.GetJwe(), uint16(lot.GetKeyEpoch())); err != nil {
		return nil, err
	}
	first, err := wire.ParseUID(lot.GetFirstUid())
	if err != nil {
		return nil, fmt.Errorf("the lot's first uid: %w", err)
	}
	uid := wire.NewRangeUID(first.PartnerNo(), first.LotNo(), first.Serial()+n)
	return factory.Make(uid, wire.Suite(lot.GetSuite()))
}

// OpenAccount opens the wearer's account and connects their phone to it.
func (s *Sandbox) OpenAccount(ctx context.Context, band *virtual.Band) (*virtual.Phone, error) {
	if _, err := s.Operator.Payments.CreateAccount(ctx, &paymentsv1.CreateAccountRequest{
		AccountId: strings.TrimPrefix(Account, "accounts/"), CurrencyCode: Currency, RequestId: "sandbox-account",
	}); err != nil {
		return nil, err
	}
	session, err := s.Operator.Auth.CreateWearerSession(ctx, &authv1.CreateWearerSessionRequest{Account: Account})
	if err != nil {
		return nil, err
	}
	client, err := s.dial(sdk.StaticToken(session.GetAccessToken()))
	if err != nil {
		return nil, err
	}
	return &virtual.Phone{Client: client, Band: band}, nil
}

// TopUp puts money into the wearer's account.
func (s *Sandbox) TopUp(ctx context.Context, minor int64, requestID string) (*paymentsv1.Account, error) {
	done, err := s.Operator.Payments.TopUpAccount(ctx, &paymentsv1.TopUpAccountRequest{
		Name: Account, Amount: &typev1.Money{MinorUnits: minor, CurrencyCode: Currency}, RequestId: requestID,
	})
	return done.GetAccount(), err
}

// OpenShop registers a merchant and its terminal, and connects the terminal.
func (s *Sandbox) OpenShop(ctx context.Context) (*paymentsv1.Merchant, *virtual.Terminal, error) {
	merchant, err := s.Operator.Payments.CreateMerchant(ctx, &paymentsv1.CreateMerchantRequest{
		Merchant:  &paymentsv1.Merchant{DisplayName: Shop, CategoryCode: ShopMCC, CurrencyCode: Currency},
		RequestId: "sandbox-merchant",
	})
	if err != nil {
		return nil, nil, err
	}
	till, err := s.Operator.Payments.CreateTerminal(ctx, &paymentsv1.CreateTerminalRequest{
		Merchant: merchant.GetName(), DisplayName: "Till 1", RequestId: "sandbox-terminal",
	})
	if err != nil {
		return nil, nil, err
	}
	session, err := s.Operator.Auth.CreateTerminalSession(ctx, &authv1.CreateTerminalSessionRequest{
		Merchant: merchant.GetName(), Terminal: till.GetName(),
	})
	if err != nil {
		return nil, nil, err
	}
	client, err := s.dial(sdk.StaticToken(session.GetAccessToken()))
	if err != nil {
		return nil, nil, err
	}
	return merchant, &virtual.Terminal{Client: client, Merchant: merchant.GetName()}, nil
}

// RequestID is a fresh request id.
func RequestID() string { return uuid.NewString() }

// exists says whether a file of the sandbox is there.
func (s *Sandbox) exists(name string) bool {
	_, err := os.Stat(filepath.Join(s.Dir, name))
	return err == nil
}
