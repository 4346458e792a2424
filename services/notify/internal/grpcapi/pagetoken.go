package grpcapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"github.com/armlet-pay/armlet/platform/fault"
)

const (
	defaultPage = 50
	tagBytes    = 16
)

var errPageToken = fault.New(fault.Invalid, "PAGE_TOKEN_INVALID",
	"the page token is damaged or belongs to another list; begin again without one").WithField("page_token")

// pageTokens makes tokens that only this service can make, and only for the list they were made for.
type pageTokens struct{ key []byte }

// next is the token for the page after the cursor.
func (p pageTokens) next(list, cursor string) string {
	return base64.RawURLEncoding.EncodeToString(append(p.tag(list, cursor), cursor...))
}

// cursor is where a page begins; empty for the first.
func (p pageTokens) cursor(list, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) <= tagBytes {
		return "", errPageToken
	}
	cursor := string(raw[tagBytes:])
	if !hmac.Equal(raw[:tagBytes], p.tag(list, cursor)) {
		return "", errPageToken
	}
	return cursor, nil
}

func (p pageTokens) tag(list, cursor string) []byte {
	m := hmac.New(sha256.New, p.key)
	m.Write([]byte(list))
	m.Write([]byte{0}) // resource names have no zero byte
	m.Write([]byte(cursor))
	return m.Sum(nil)[:tagBytes]
}

func pageSize(asked int32) int {
	if asked == 0 {
		return defaultPage
	}
	return int(asked)
}
