package sdk

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"testing"
	"time"
)

// The secret, message and signature are those that the specification's own libraries test with.
const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func webhookHeader(signature string) http.Header {
	return http.Header{
		"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {signature},
	}
}

func TestADeliveryOfTheSpecificationVerifies(t *testing.T) {
	const good, body = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", `{"test": 2432232314}`
	at := time.Unix(1614265330, 0)
	// The newest key may not be the one that this receiver knows yet.
	for _, signature := range []string{good, "v1,AAAA " + good, good + " v1a,AAAA"} {
		if id, err := VerifyWebhook(webhookHeader(signature), []byte(body), at.Add(time.Minute), "whsec_AAAA", webhookSecret); err != nil || id == "" {
			t.Errorf("%s: %v", signature, err)
		}
	}
	for name, try := range map[string]func() error{
		"another body": func() error {
			_, err := VerifyWebhook(webhookHeader(good), []byte(body+" "), at, webhookSecret)
			return err
		},
		"another secret": func() error { _, err := VerifyWebhook(webhookHeader(good), []byte(body), at, "whsec_AAAA"); return err },
		"no secret":      func() error { _, err := VerifyWebhook(webhookHeader(good), []byte(body), at, "whsec_"); return err },
		"too old": func() error {
			_, err := VerifyWebhook(webhookHeader(good), []byte(body), at.Add(WebhookTolerance+time.Second), webhookSecret)
			return err
		},
		"another version": func() error {
			_, err := VerifyWebhook(webhookHeader("v1a"+good[2:]), []byte(body), at, webhookSecret)
			return err
		},
		"no headers": func() error { _, err := VerifyWebhook(http.Header{}, []byte(body), at, webhookSecret); return err },
	} {
		if try() != ErrWebhook { //nolint:errorlint // the very value is promised
			t.Errorf("%s verifies", name)
		}
	}
}

// The signature is the example of a header in the specification; the key that made it is the one of the Svix server's tests.
func TestAnAsymmetricDeliveryOfTheSpecificationVerifies(t *testing.T) {
	const (
		good = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
		key  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
		body = `{"test": 2432232314}`
	)
	at := time.Unix(1614265330, 0)
	if _, err := VerifyWebhook(webhookHeader("v1,AAAA "+good), []byte(body), at, webhookSecret, key); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another body":  second(VerifyWebhook(webhookHeader(good), []byte(body+" "), at, key)),
		"another key":   second(VerifyWebhook(webhookHeader(good), []byte(body), at, "whpk_"+base64.StdEncoding.EncodeToString(make([]byte, ed25519.PublicKeySize)))),
		"a secret only": second(VerifyWebhook(webhookHeader(good), []byte(body), at, webhookSecret)),
		"symmetric":     second(VerifyWebhook(webhookHeader("v1"+good[3:]), []byte(body), at, key)),
	} {
		if err != ErrWebhook { //nolint:errorlint // the very value is promised
			t.Errorf("%s verifies", name)
		}
	}
}

// While a key replaces another both sign, the newest first: a receiver that has either of them takes the delivery, and one
// that has a third does not.
func TestWhileKeysRotateEitherVerifies(t *testing.T) {
	var publics, signatures []string
	for range 3 {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		publics = append(publics, "whpk_"+base64.StdEncoding.EncodeToString(public))
		sig := ed25519.Sign(private, []byte("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{}"))
		signatures = append(signatures, "v1a,"+base64.StdEncoding.EncodeToString(sig))
	}
	header := webhookHeader(signatures[0] + " " + signatures[1])
	for i, want := range []error{nil, nil, ErrWebhook} {
		if _, err := VerifyWebhook(header, []byte("{}"), time.Unix(1614265330, 0), publics[i]); err != want { //nolint:errorlint // the very value is promised
			t.Errorf("with key %d: %v, want %v", i, err, want)
		}
	}
}

func second(_ string, err error) error { return err }
