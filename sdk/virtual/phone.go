package virtual

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/sdk"
)

// mtu is the ATT_MTU that the phone and the band agreed on, as phones commonly do.
const mtu = 185

// Phone is the wearer's phone: it carries frames between the platform and the
// band in GATT frames, and shows the wearer's alerts. It learns no key.
type Phone struct {
	Client *sdk.Client // with the wearer's session
	Band   *Band
}

// Claim binds the band to the wearer's account; the wearer must wear it and knock.
// Its errors are those of BeginClaim and CompleteClaim.
func (p *Phone) Claim(ctx context.Context) (*authv1.CompleteClaimResponse, error) {
	claim, err := p.Client.Auth.BeginClaim(ctx, &authv1.BeginClaimRequest{Uid: p.Band.UID().QR(), RequestId: uuid.NewString()})
	if err != nil {
		return nil, err
	}
	response, err := p.Relay(claim.GetChallengeFrame(), nil)
	if err != nil {
		return nil, err
	}
	done, err := p.Client.Auth.CompleteClaim(ctx, &authv1.CompleteClaimRequest{Name: claim.GetName(), ResponseFrame: response})
	if err != nil {
		return nil, err
	}
	return done, p.Deliver(done.GetResultFrame())
}

// Unbind gives the band up: it answers, the platform ends the binding, and the
// band forgets it. The wearer must wear it and knock.
func (p *Phone) Unbind(ctx context.Context) error {
	_, err := p.prove(ctx, p.Client, &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_UNBIND, MerchantUid: make([]byte, 16), Display: "Give up band?",
	})
	return err
}

// Prove has the band prove to a partner's own service that its wearer is there.
// partner is connected with the partner's token (scope presence.verify), audience
// names its service and intent what it is for. The assertion is for
// [sdk.PresenceVerifier].
func (p *Phone) Prove(ctx context.Context, partner *sdk.Client, audience, intent uuid.UUID, display string) (assertion string, err error) {
	decision, err := p.prove(ctx, partner, &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_PRESENCE, MerchantUid: audience[:], IntentUid: intent[:], Display: display,
	})
	return decision.GetAssertion(), err
}

// prove asks for a challenge, relays it and brings the band the result.
func (p *Phone) prove(ctx context.Context, client *sdk.Client, in *authv1.CreateChallengeRequest) (*authv1.Decision, error) {
	request := uuid.New()
	if in.IntentUid == nil {
		in.IntentUid = request[:]
	}
	in.Subject, in.RequestId = &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: p.Band.UID().String()}, request.String()
	challenge, err := client.Auth.CreateChallenge(ctx, in)
	if err != nil {
		return nil, err
	}
	response, err := p.Relay(challenge.GetChallengeFrame(), challenge.GetPongKey())
	if err != nil {
		return nil, err
	}
	decision, err := client.Auth.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: challenge.GetName(), ResponseFrame: response})
	if err != nil {
		return nil, err
	}
	return decision, p.Deliver(decision.GetResultFrame())
}

// Relay carries a challenge to the band and its response back. The pong key comes
// with the challenge and answers distance rounds; it may be nil where none are asked for.
func (p *Phone) Relay(challenge, pongKey []byte) ([]byte, error) {
	return relay(p.Band, challenge, pongKey)
}

// Deliver carries a result to the band.
func (p *Phone) Deliver(result []byte) error { return deliver(p.Band, result) }

// Confirm relays a payment's challenge to the band and confirms the payment with
// the band's response; then it brings the band the result.
func (p *Phone) Confirm(ctx context.Context, payment *paymentsv1.Payment) (*paymentsv1.Payment, error) {
	return confirm(ctx, p.Client, p.Band, payment)
}

// Alerts follows the account's inbox and makes the band buzz, until ctx ends or see returns false: first the alerts
// that are there with a sequence after the given one, then new ones. It resumes by itself when the connection breaks,
// and tells the platform that the phone and the band have received each alert. It returns nil when see ended it.
func (p *Phone) Alerts(ctx context.Context, account string, after int64, see func(*notifyv1.Alert) bool) error {
	inbox := &sdk.Inbox{Client: p.Client.Notify, Account: account, ClientID: "phone-" + p.Band.UID().String(), Surface: notifyv1.Surface_SURFACE_BAND}
	return inbox.Follow(ctx, func(change sdk.InboxChange) error {
		for _, alert := range change.Upserts {
			if alert.GetSequence() <= after && alert.GetAttempt() <= 1 {
				continue
			}
			p.Band.Alert(alert.GetBandText(), uint8(alert.GetVibration()))
			if err := p.received(ctx, account, alert); err != nil {
				return err
			}
			if !see(alert) {
				return sdk.ErrStop
			}
		}
		return nil
	})
}

// received tells that the band has an alert. When that cannot be told now the platform sends the alert again if it matters.
func (p *Phone) received(ctx context.Context, account string, alert *notifyv1.Alert) error {
	_, err := p.Client.Notify.AcknowledgeAlerts(ctx, &notifyv1.AcknowledgeAlertsRequest{
		Account: account, ClientId: "phone-" + p.Band.UID().String(), RequestId: uuid.NewString(),
		Acks: []*notifyv1.AlertAck{{Alert: alert.GetName(), Surface: notifyv1.Surface_SURFACE_BAND, Kind: notifyv1.AckKind_ACK_KIND_RECEIVED}},
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !sdk.Retryable(err) {
		return err
	}
	return nil
}

// Terminal is a merchant's till that reads bands over NFC.
type Terminal struct {
	Client   *sdk.Client // with the terminal's session
	Merchant string      // `merchants/{uuid}`
}

// Charge creates a payment for a band, with a voucher when the request has its code. The request id makes it safe to repeat.
func (t *Terminal) Charge(ctx context.Context, band wire.UID, request *paymentsv1.CreatePaymentRequest) (*paymentsv1.Payment, error) {
	request.Merchant = t.Merchant
	request.Payer = &paymentsv1.CreatePaymentRequest_DeviceUid{DeviceUid: band.String()}
	if request.GetRequestId() == "" {
		request.RequestId = uuid.NewString()
	}
	return t.Client.Payments.CreatePayment(ctx, request)
}

// Confirm taps the band on the terminal and confirms the payment with its response.
func (t *Terminal) Confirm(ctx context.Context, band *Band, payment *paymentsv1.Payment) (*paymentsv1.Payment, error) {
	return confirm(ctx, t.Client, band, payment)
}

// Redeem redeems a voucher. A voucher of an account is proved with the band, at
// the terminal of the merchant whose 16-byte uuid is given.
func (t *Terminal) Redeem(ctx context.Context, band *Band, code, requestID string) (*notifyv1.Redemption, error) {
	assertion, err := t.assertion(ctx, band, code)
	if err != nil {
		return nil, err
	}
	return t.Client.Notify.RedeemVoucher(ctx, &notifyv1.RedeemVoucherRequest{Code: code, Assertion: assertion, RequestId: requestID})
}

// Reserve holds a voucher for a price, which may be nil where the voucher does not depend on it, as Redeem redeems one. A
// payment with a voucher needs neither: it takes the code (see Charge).
func (t *Terminal) Reserve(ctx context.Context, band *Band, code string, price *typev1.Money, requestID string) (*notifyv1.Redemption, error) {
	assertion, err := t.assertion(ctx, band, code)
	if err != nil {
		return nil, err
	}
	return t.Client.Notify.ReserveVoucher(ctx, &notifyv1.ReserveVoucherRequest{Code: code, PurchaseAmount: price, Assertion: assertion, RequestId: requestID})
}

// assertion is the band's consent to a voucher, where that is asked for.
func (t *Terminal) assertion(ctx context.Context, band *Band, code string) (string, error) {
	seen, err := t.Client.Notify.VerifyVoucher(ctx, &notifyv1.VerifyVoucherRequest{Code: code})
	if err != nil || !seen.GetAssertionRequired() {
		return "", err
	}
	decision, err := t.prove(ctx, band, seen)
	if err != nil {
		return "", err
	}
	return decision.GetAssertion(), deliver(band, decision.GetResultFrame())
}

func (t *Terminal) prove(ctx context.Context, band *Band, seen *notifyv1.VerifyVoucherResponse) (*authv1.Decision, error) {
	merchant, err := uuid.Parse(t.Merchant[len("merchants/"):])
	if err != nil {
		return nil, fmt.Errorf("virtual: the merchant's name %q holds no uuid", t.Merchant)
	}
	challenge, err := t.Client.Auth.CreateChallenge(ctx, &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_VOUCHER, Subject: &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: band.UID().String()},
		MerchantUid: merchant[:], IntentUid: seen.GetIntentUid(), Display: "Redeem voucher?", RequestId: uuid.NewString(),
	})
	if err != nil {
		return nil, err
	}
	response, err := relay(band, challenge.GetChallengeFrame(), challenge.GetPongKey())
	if err != nil {
		return nil, err
	}
	return t.Client.Auth.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: challenge.GetName(), ResponseFrame: response})
}

func confirm(ctx context.Context, client *sdk.Client, band *Band, payment *paymentsv1.Payment) (*paymentsv1.Payment, error) {
	response, err := relay(band, payment.GetTap().GetChallengeFrame(), payment.GetTap().GetPongKey())
	if err != nil {
		return nil, err
	}
	done, err := client.Payments.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: payment.GetName(), ResponseFrame: response})
	if err != nil {
		return nil, err
	}
	if len(done.GetResultFrame()) == 0 {
		return done.GetPayment(), nil
	}
	return done.GetPayment(), deliver(band, done.GetResultFrame())
}

func relay(band *Band, challenge, pongKey []byte) ([]byte, error) {
	frame, err := overTheAir(challenge, 1)
	if err != nil {
		return nil, err
	}
	var pong func([]byte) ([]byte, error)
	if len(pongKey) > 0 {
		c, _, err := wire.ParseChallenge(challenge)
		if err != nil {
			return nil, fmt.Errorf("virtual: challenge: %w", err)
		}
		if pong, err = answerPings(pongKey, c.Nonce); err != nil {
			return nil, err
		}
	}
	response, err := band.Challenge(frame, pong)
	if err != nil {
		return nil, err
	}
	return overTheAir(response, 2)
}

func deliver(band *Band, result []byte) error {
	frame, err := overTheAir(result, 3)
	if err != nil {
		return err
	}
	_, err = band.Result(frame)
	return err
}

// overTheAir cuts a message into GATT frames and puts it together again, as the
// two ends of the link do.
func overTheAir(message []byte, id byte) ([]byte, error) {
	frames, err := wire.Fragment(message, id, mtu)
	if err != nil {
		return nil, fmt.Errorf("virtual: send over the air: %w", err)
	}
	var end wire.Reassembler
	now := time.Now()
	for _, f := range frames {
		whole, err := end.Push(f, now)
		if err != nil {
			return nil, fmt.Errorf("virtual: receive over the air: %w", err)
		}
		if whole != nil {
			return whole, nil
		}
	}
	return nil, fmt.Errorf("virtual: a message of %d bytes did not arrive whole", len(message))
}

func answerPings(pongKey []byte, nonce wire.Nonce) (func([]byte) ([]byte, error), error) {
	key, err := wire.NewKey(pongKey)
	if err != nil {
		return nil, fmt.Errorf("virtual: pong key: %w", err)
	}
	return func(in []byte) ([]byte, error) {
		ping, err := wire.ParsePing(in)
		if err != nil {
			return nil, err
		}
		answer, err := wire.PongAnswer(key, nonce, ping.Index, ping.Nonce)
		if err != nil {
			return nil, err
		}
		return wire.Pong{Index: ping.Index, Answer: answer}.MarshalBinary()
	}, nil
}
