package grpcapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// pages makes page tokens: version, time in unix microseconds and id of the last payment shown, then an HMAC-SHA-256 over
// these, the caller and what was asked for, so that a token serves only who got it, and only there.
type pages struct{ key []byte }

const (
	pageVersion = 1
	pageFixed   = 1 + 8
)

func (p pages) seal(c payment.Caller, scope string, at payment.Cursor) string {
	b := []byte{pageVersion}
	b = binary.BigEndian.AppendUint64(b, uint64(at.CreateTime.UnixMicro()))
	b = append(b, at.ID...)
	return base64.RawURLEncoding.EncodeToString(append(b, p.mac(c, scope, b)...))
}

// open reads a token; an empty one is the first page.
func (p pages) open(c payment.Caller, scope, token string) (*payment.Cursor, error) {
	if token == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) <= pageFixed+sha256.Size || b[0] != pageVersion {
		return nil, errPageToken
	}
	body, mac := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if !hmac.Equal(mac, p.mac(c, scope, body)) {
		return nil, errPageToken
	}
	micros := int64(binary.BigEndian.Uint64(body[1:pageFixed]))
	return &payment.Cursor{CreateTime: time.UnixMicro(micros), ID: string(body[pageFixed:])}, nil
}

func (p pages) mac(c payment.Caller, scope string, body []byte) []byte {
	h := hmac.New(sha256.New, p.key)
	h.Write(body)
	h.Write([]byte(c.Key() + "\x00" + scope))
	return h.Sum(nil)
}

var errPageToken = fault.New(fault.Invalid, "PAGE_TOKEN_INVALID",
	"the page_token is not one that this caller was given; start without one").WithField("page_token")
