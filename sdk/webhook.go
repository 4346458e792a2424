package sdk

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WebhookTolerance is how far the timestamp of a delivery may lie from now, in either direction.
const WebhookTolerance = 5 * time.Minute

// ErrWebhook is the error of every delivery that is not from Armlet, was changed on its way, or is too old.
var ErrWebhook = errors.New("sdk: the delivery's signature does not verify")

// VerifyWebhook checks a delivery as the Standard Webhooks specification 1.0 says: header and body as they arrived, now the
// receiver's clock, and the keys of the subscription, `whpk_…` (Ed25519, RFC 8032) or `whsec_…` (HMAC-SHA-256, RFC 2104). It
// returns the event's id; remember those you have handled, since a delivery may come twice. Any error is [ErrWebhook].
func VerifyWebhook(header http.Header, body []byte, now time.Time, keys ...string) (id string, err error) {
	id = header.Get("Webhook-Id")
	stamp := header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" {
		return "", ErrWebhook
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > WebhookTolerance || age < -WebhookTolerance {
		return "", ErrWebhook
	}
	content := append([]byte(id+"."+stamp+"."), body...)
	for _, signature := range strings.Fields(header.Get("Webhook-Signature")) {
		version, text, _ := strings.Cut(signature, ",")
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for _, key := range keys {
			if webhookMatches(version, key, content, raw) {
				return id, nil
			}
		}
	}
	return "", ErrWebhook
}

func webhookMatches(version, key string, content, signature []byte) bool {
	kind, text, _ := strings.Cut(key, "_")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return false
	}
	switch {
	case version == "v1a" && kind == "whpk" && len(raw) == ed25519.PublicKeySize:
		return ed25519.Verify(raw, content, signature)
	case version == "v1" && kind == "whsec" && len(raw) > 0:
		mac := hmac.New(sha256.New, raw)
		mac.Write(content)
		return hmac.Equal(mac.Sum(nil), signature)
	}
	return false
}
