package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/cenkalti/backoff/v5"

	"lifeboat/internal/clock"
)

// The robots take texts of so many bytes: WeCom 2,048, and DingTalk what fits into a body of 20,000, with quotes and line ends that
// JSON makes two bytes of.
const (
	maxDingTalk = 9 << 10
	maxWeCom    = 2048
)

// robot writes into a group of DingTalk or WeCom. Both take the same text messages; Markdown would need everything escaped that
// comes from elsewhere, and WeCom shows it in its own application only.
type robot struct {
	peer
	limit  int
	secret string // DingTalk: signs messages; may be empty
}

// busy are the answers after which a robot may take the same message later: it is overloaded, or was asked too often.
var busy = []int{-1, 130101, 410100, 45009, 45033}

// Send implements Channel. Both robots answer with status 200 even where they refuse: errcode tells.
func (r robot) Send(ctx context.Context, e Event) (string, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // six bytes for one
	if err := enc.Encode(map[string]any{"msgtype": "text", "text": map[string]string{"content": e.text(r.limit)}}); err != nil {
		return "", fmt.Errorf("encode the event: %w", err)
	}
	u := *r.url
	if r.secret != "" {
		u.RawQuery = r.sign(clock.System().UnixMilli())
	}
	raw, cut, err := r.exchange(ctx, http.MethodPost, &u, body.Bytes())
	if err != nil {
		return "", err
	}
	var answer struct {
		Code    *int   `json:"errcode"`
		Message string `json:"errmsg"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil && cut != nil {
		return "", r.err("its answer broke off: %v", cut)
	} else if err != nil || answer.Code == nil {
		return "", r.err("it did not answer as a robot does%s: check its URL", r.said(raw))
	}
	if *answer.Code != 0 {
		err := r.err("it answered errcode %d: %s", *answer.Code, answer.Message)
		if !slices.Contains(busy, *answer.Code) {
			err = backoff.Permanent(err)
		}
		return "", err
	}
	return r.line(string(raw)), nil
}

// sign is the query of a signed request: timestamp is in milliseconds, and sign the HMAC-SHA256 of "timestamp\nsecret" with the secret as key.
func (r robot) sign(millis int64) string {
	timestamp := strconv.FormatInt(millis, 10)
	mac := hmac.New(sha256.New, []byte(r.secret))
	mac.Write([]byte(timestamp + "\n" + r.secret)) // never fails: hash.Hash
	q := r.url.Query()
	q.Set("timestamp", timestamp)
	q.Set("sign", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return q.Encode()
}
