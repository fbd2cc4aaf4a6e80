package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/config"
)

const taken = `{"errcode":0,"errmsg":"ok"}`

// content is the text that a robot was sent.
func content(t *testing.T, r request) string {
	t.Helper()
	var m struct {
		Type string            `json:"msgtype"`
		Text map[string]string `json:"text"`
	}
	if err := json.Unmarshal([]byte(r.body), &m); err != nil || m.Type != "text" || len(m.Text) != 1 || r.contentType != "application/json" {
		t.Errorf("%v: %+v", err, r)
	}
	return m.Text["content"]
}

func TestDingTalkSigned(t *testing.T) {
	const secret = "SECret-of-a-robot"
	s := serveWeb(t, status(200, taken))
	c := opened(t, config.Notify{Kind: "dingtalk", URL: config.Secret(s.URL + "/robot/send?access_token=" + token), SecretFile: secretFile(t, secret)})
	if answer, err := sent(t, c, trouble, token, secret); err != nil || answer != taken {
		t.Fatalf("%q, %v", answer, err)
	}
	r := next(t, s.got)
	q := r.url.Query()
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(q.Get("timestamp") + "\n" + secret))
	millis, err := strconv.ParseInt(q.Get("timestamp"), 10, 64)
	if age := time.Since(time.UnixMilli(millis)); err != nil || age < -time.Minute || age > time.Hour {
		t.Errorf("timestamp %q", q.Get("timestamp"))
	}
	if q.Get("sign") != base64.StdEncoding.EncodeToString(mac.Sum(nil)) || q.Get("access_token") != token || r.url.Path != "/robot/send" {
		t.Errorf("%s", r.url)
	}
	if got := content(t, r); got != trouble.text(1000) {
		t.Errorf("got %s", got)
	}
}

// TestRobotAnswers is about robots that say with status 200 that they refuse.
func TestRobotAnswers(t *testing.T) {
	for _, tt := range []struct {
		kind, body, want string
		final            bool
	}{
		{"wecom", taken, "", false},
		{"wecom", `{"errcode":93000,"errmsg":"invalid webhook url, key ` + token + `"}`, "it answered errcode 93000: invalid webhook url, key [redacted]", true},
		{"wecom", `{"errcode":45009,"errmsg":"api freq out of limit"}`, "errcode 45009: api freq out of limit", false},
		{"dingtalk", `{"errcode":310000,"errmsg":"keywords not in content"}`, "errcode 310000: keywords not in content", true},
		{"dingtalk", `{"errcode":130101,"errmsg":"send too fast"}`, "errcode 130101", false},
		{"dingtalk", `{"errcode":-1,"errmsg":"busy"}`, "errcode -1: busy", false},
		{"dingtalk", `{}`, "it did not answer as a robot does ({}): check its URL", false},
		{"dingtalk", "<html>log in\n" + token, "it did not answer as a robot does (<html>log in [redacted]): check its URL", false},
		{"wecom", `{"errcode":0,"errm`, "it did not answer as a robot does ({\"errcode\":0,\"errm): check its URL", false},
		{"wecom", "", "it did not answer as a robot does: check its URL", false},
	} {
		s := serveWeb(t, status(200, tt.body))
		c := opened(t, config.Notify{Kind: tt.kind, URL: config.Secret(s.URL + "/send?key=" + token)})
		_, err := sent(t, c, trouble, token)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.want) && !strings.Contains(err.Error(), tt.want)) || permanent(err) != tt.final {
			t.Errorf("%s: final %v: %v", tt.body, permanent(err), err)
		}
	}
}

// TestRobotBreaksOff is about a robot whose answer ends before its length: that is said, and tried again.
func TestRobotBreaksOff(t *testing.T) {
	s := serveWeb(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(taken[:10])) // the rest never comes
	})
	_, err := sent(t, opened(t, config.Notify{Kind: "wecom", URL: config.Secret(s.URL + "/send?key=" + token)}), trouble, token)
	if err == nil || !strings.Contains(err.Error(), "its answer broke off: unexpected EOF") || permanent(err) {
		t.Error(err)
	}
}

// TestRobotLimits sends the worst that an event can be.
func TestRobotLimits(t *testing.T) {
	e := Event{Title: strings.Repeat(`"`, 10_000), Detail: strings.Repeat("<\n\"", 10_000)}.tidy(time.Now())
	var all []Event
	for range perDigest {
		all = append(all, e)
	}
	s := serveWeb(t, status(200, taken))
	for _, kind := range []string{"wecom", "dingtalk"} {
		c := opened(t, config.Notify{Kind: kind, URL: config.Secret(s.URL)})
		if _, err := sent(t, c, digest(all)); err != nil {
			t.Fatal(err)
		}
		r := next(t, s.got)
		if text := content(t, r); kind == "wecom" && len(text) > 2048 || kind == "dingtalk" && len(r.body) > 20_000 || len(text) < 2000 {
			t.Errorf("%s: %d bytes of text in %d", kind, len(text), len(r.body))
		}
	}
}

func TestOpen(t *testing.T) {
	file := secretFile(t, "hush")
	channels, err := Open([]config.Notify{
		{Kind: "dingtalk", URL: "https://ding/a", SecretFile: file}, {Kind: "dingtalk", URL: "https://u:hush@ding/b?c"}, {Kind: "webhook", URL: "https://ding/a"},
		{Kind: "smtp", URL: "smtp://u:hush@mail", To: []string{"a@x.y", "b@x.y"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range channels {
		names = append(names, c.Name())
	}
	if got := strings.Join(names, ", "); got != "dingtalk ding, dingtalk ding (2), webhook ding, smtp mail to a@x.y, smtp mail to b@x.y" {
		t.Error(got)
	}
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	for _, c := range []config.Notify{{Kind: "dingtalk", URL: "https://d", SecretFile: file}, {Kind: "smtp", URL: "smtp://u@m", To: []string{"a@x.y"}, PasswordFile: file}} {
		if _, err := Open([]config.Notify{c}); err == nil || !strings.Contains(err.Error(), "by "+c.Kind) || !strings.Contains(err.Error(), "can be read by others") {
			t.Errorf("%s: %v", c.Kind, err)
		}
	}
	for _, url := range []string{"https://x:hush@a b/", "hush"} {
		if _, err := Open([]config.Notify{{Kind: "webhook", URL: config.Secret(url)}}); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
