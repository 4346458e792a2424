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

func TestAnAsymmetricDeliveryVerifies(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sig := ed25519.Sign(private, []byte("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{}"))
	header := webhookHeader("v1a," + base64.StdEncoding.EncodeToString(sig))
	key := "whpk_" + base64.StdEncoding.EncodeToString(public)
	if _, err := VerifyWebhook(header, []byte("{}"), time.Unix(1614265330, 0), key); err != nil {
		t.Error(err)
	}
	if _, err := VerifyWebhook(header, []byte("{ }"), time.Unix(1614265330, 0), key); err == nil {
		t.Error("another body verifies")
	}
}
