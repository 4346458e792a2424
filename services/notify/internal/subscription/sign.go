package subscription

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// SeedBytes is the length of a signing key, an Ed25519 seed or an HMAC secret.
const SeedBytes = 32

// Sign is the value of the webhook-signature header: one signature a key, newest first, over `id.timestamp.body` as the
// Standard Webhooks specification 1.0 says.
func Sign(how Signature, seeds [][]byte, id string, at time.Time, body []byte) string {
	content := []byte(id + "." + strconv.FormatInt(at.Unix(), 10) + ".")
	content = append(content, body...)
	all := make([]string, len(seeds))
	for i, seed := range seeds {
		var sig []byte
		if how == HMAC {
			mac := hmac.New(sha256.New, seed)
			mac.Write(content)
			sig = mac.Sum(nil)
		} else {
			sig = ed25519.Sign(ed25519.NewKeyFromSeed(seed), content)
		}
		all[i] = string(how) + "," + base64.StdEncoding.EncodeToString(sig)
	}
	return strings.Join(all, " ")
}

// PublicKey is what a receiver verifies `v1a` signatures with.
func PublicKey(seed []byte) string {
	public, _ := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return "whpk_" + base64.StdEncoding.EncodeToString(public)
}

// Secret is what a receiver verifies `v1` signatures with.
func Secret(seed []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(seed) }
