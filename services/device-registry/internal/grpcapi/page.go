package grpcapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/armlet-pay/armlet/platform/fault"
)

const (
	defaultPage = 50
	pageMAC     = 16 // bytes
)

// pager makes and reads page tokens: the place where the next page begins, signed together with the list it belongs to,
// so that a token cannot be forged or carried over to another list.
type pager struct{ key []byte }

var encoding = base64.RawURLEncoding.Strict()

func (p pager) token(list, last string) string {
	return encoding.EncodeToString(append(p.mac(list, last), last...))
}

// after is where the page begins: empty for the first.
func (p pager) after(list, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := encoding.DecodeString(token)
	if err != nil || len(raw) <= pageMAC || !hmac.Equal(raw[:pageMAC], p.mac(list, string(raw[pageMAC:]))) {
		return "", fault.New(fault.Invalid, "PAGE_TOKEN_INVALID",
			"the page_token is not one that this list gave out; begin again without it").WithField("page_token")
	}
	return string(raw[pageMAC:]), nil
}

func (p pager) mac(list, last string) []byte {
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte(list + "\x00" + last))
	return h.Sum(nil)[:pageMAC]
}

func pageSize(asked int32) int {
	if asked == 0 {
		return defaultPage
	}
	return int(asked)
}

// listName identifies a list: what is listed, for whom, under which parent.
func listName(parts ...string) string { return strings.Join(parts, "\x00") }

// cut drops the one item that was read beyond the page to learn whether there are more.
func cut[T any](items []T, size int) (page []T, more bool) {
	if len(items) > size {
		return items[:size], true
	}
	return items, false
}
