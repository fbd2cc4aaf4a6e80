package notify

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"lifeboat/config"
)

const token = "t0ken-of-a-hook"

func hook(t *testing.T, url string) Channel {
	t.Helper()
	return opened(t, config.Notify{Kind: "webhook", URL: config.Secret(url + "/hooks/" + token + "?key=" + token)})
}

func permanent(err error) bool {
	var p *backoff.PermanentError
	return errors.As(err, &p)
}

func TestWebhook(t *testing.T) {
	s := serveWeb(t, status(200, "noted "+token))
	s.Close()
	s.Server = httptest.NewUnstartedServer(s.Config.Handler)
	s.StartTLS()
	c := hook(t, s.URL)
	if want := "webhook " + strings.TrimPrefix(s.URL, "https://"); c.Name() != want {
		t.Errorf("%s, want %s", c.Name(), want)
	}
	answer, err := sent(t, c, digest([]Event{trouble, trouble}), token)
	if err != nil || answer != "noted [redacted]" {
		t.Fatalf("%q, %v", answer, err)
	}
	r := next(t, s.got)
	if r.method != http.MethodPost || r.contentType != "application/json" || r.url.Path != "/hooks/"+token || r.url.Query().Get("key") != token {
		t.Errorf("%+v", r)
	}
	var got payload
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Fatal(err)
	}
	if want := (payload{1, digest([]Event{trouble, trouble}).text(maxWebhookText), digest([]Event{trouble, trouble})}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", r.body)
	}
	if _, err := sent(t, c, trouble); err != nil {
		t.Fatal(err)
	}
	want := `,"key":"backup/crm","kind":"backup_failed","severity":"critical","repository":"crm-prod","host":"db1","policy":"crm","source":"crm","target":"vault",` +
		`"title":"the backup of crm failed","detail":"write to vault: no space left on device: make room there","at":"2026-11-20T03:00:00Z","recovered":false,"reminder":false}`
	if r := next(t, s.got); !strings.HasPrefix(r.body, `{"version":1,"text":"Lifeboat crm-prod: critical: `) || !strings.HasSuffix(r.body, want) {
		t.Errorf("got %s", r.body)
	}
}

// TestAnswers is which answers are errors, which of them are final, and that none shows a secret.
func TestAnswers(t *testing.T) {
	elsewhere := serveWeb(t, status(200, ""))
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // of the error
		final  bool
	}{
		{"none is needed", status(204, ""), "", false},
		{"its own 404", status(404, "Cannot POST /hooks/"+token+"?key="+token), "answered 404 Not Found (Cannot POST /[redacted]/[redacted]?[redacted]): check its URL", true},
		{"secret alone", status(403, "\x1b[31m"+token+" is not allowed"), "answered 403 Forbidden ([31m[redacted] is not allowed): check the secret in its URL", true},
		{"secret at the cut", status(400, strings.Repeat("x", maxAnswer/2-5)+token), "xxxx[r…)", true},
		{"too often", status(429, "slow down"), "answered 429 Too Many Requests (slow down)", false},
		{"too slow", status(408, ""), "answered 408", false},
		{"overloaded", status(503, strings.Repeat("<html>", 1_000_000)), "answered 503", false},
		{"another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.String(), http.StatusTemporaryRedirect)
		}, "answered 307 Temporary Redirect, to " + elsewhere.URL + ": write the final address", true},
		{"the same host", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "answered 302 Found, to http://127.0.0.1", true},
		{"a redirect to nowhere", status(301, ""), "answered 301 Moved Permanently, to nowhere", true},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			status(200, "half")(w, nil)
		}, "", false},
		{"hung up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer: EOF: check the URL", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveWeb(t, tt.answer)
			c := hook(t, s.URL)
			_, err := sent(t, c, trouble, token, "t0ken")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "send to "+c.Name()+": ")) || permanent(err) != tt.final {
				t.Errorf("final %v: %v", permanent(err), err)
			}
			if err != nil && len(err.Error()) > 600 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
		})
	}
	select {
	case r := <-elsewhere.got:
		t.Errorf("a redirect was followed: %+v", r)
	default:
	}
}

// TestNoPeer is about hosts that never answer.
func TestNoPeer(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sent(t, hook(t, "http://user:"+token+"@"+closed.Addr().String()), trouble, token); err == nil || !strings.Contains(err.Error(), "connection refused: check the URL") || permanent(err) {
		t.Errorf("closed port: %v", err)
	}
	if _, err := sent(t, hook(t, "https://hook.invalid"), trouble, token); err == nil || !strings.Contains(err.Error(), "send to webhook hook.invalid: no answer: ") {
		t.Errorf("no such host: %v", err)
	}
	untrusted := httptest.NewUnstartedServer(status(200, ""))
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	if _, err := sent(t, hook(t, strings.Replace(untrusted.URL, "127.0.0.1", "localhost", 1)), trouble, token); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate for another name: %v", err)
	}
	release := make(chan struct{})
	hanging := serveWeb(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	if _, err := attempt(t.Context(), hook(t, hanging.URL), trouble, 50*time.Millisecond); err == nil || err.Error() != "send to "+hook(t, hanging.URL).Name()+": no answer within 50ms" || permanent(err) {
		t.Errorf("hanging: %v", err)
	}
}

func TestHeartbeat(t *testing.T) {
	answers := make(chan int, 10)
	s := serveWeb(t, func(w http.ResponseWriter, _ *http.Request) { status(<-answers, token)(w, nil) })
	url := config.Secret(s.URL + "/ping/" + token)
	answers <- 503
	answers <- 200
	if err := Heartbeat(t.Context(), url); err != nil {
		t.Error(err)
	}
	for range 2 {
		if r := next(t, s.got); r.method != http.MethodGet || r.url.Path != "/ping/"+token || r.body != "" {
			t.Errorf("%+v", r)
		}
	}
	answers <- 404
	want := "call the heartbeat at " + strings.TrimPrefix(s.URL, "http://") + ": it answered 404 Not Found ([redacted]): check its URL"
	if err := Heartbeat(t.Context(), url); err == nil || err.Error() != want || len(s.got) != 1 {
		t.Errorf("%d requests, %v", len(s.got), err)
	}
	for range heartbeatTries {
		answers <- 500
	}
	if err := Heartbeat(t.Context(), url); err == nil || !strings.Contains(err.Error(), "500") || strings.Contains(err.Error(), token) || len(s.got) != 1+heartbeatTries {
		t.Errorf("%d requests, %v", len(s.got), err)
	}
	if err := Heartbeat(t.Context(), "no url "+token); err == nil || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
}
