package notify

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/config"
)

// certificate is of 127.0.0.1, and trusted by this process.
var certificate tls.Certificate

func TestMain(m *testing.M) { os.Exit(withCertificate(m)) }

func withCertificate(m *testing.M) int {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	certificate = s.TLS.Certificates[0]
	s.Close()
	dir, err := os.MkdirTemp("", "lifeboat-notify-*")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		panic(err)
	}
	if err := os.Setenv("SSL_CERT_FILE", file); err != nil { // before anything is verified
		panic(err)
	}
	return m.Run()
}

// request is one that a server got.
type request struct {
	method, contentType string
	url                 *url.URL
	body                string
}

// web is an HTTP server that answers as its test wants.
type web struct {
	*httptest.Server
	got chan request
}

// serveWeb starts one; got has what it was asked before it answers.
func serveWeb(t *testing.T, answer http.HandlerFunc) *web {
	t.Helper()
	s := &web{got: make(chan request, 1000)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a request: %v", err)
		}
		s.got <- request{r.Method, r.Header.Get("Content-Type"), r.URL, string(body)}
		answer(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// status answers with a code and a body.
func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body) // the client may be gone
	}
}

// next waits for the next value, for as long as a busy machine may need.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// opened is the one channel of a configuration.
func opened(t *testing.T, c config.Notify) Channel {
	t.Helper()
	channels, err := Open([]config.Notify{c})
	if err != nil || len(channels) != 1 {
		t.Fatalf("%d channels, %v", len(channels), err)
	}
	return channels[0]
}

// secretFile writes a secret that only its owner can read.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sent sends an event once and returns what came of it. No form of a secret may show in that.
func sent(t *testing.T, c Channel, e Event, secrets ...string) (string, error) {
	t.Helper()
	answer, err := attempt(t.Context(), c, e, time.Minute)
	all := c.Name() + answer
	if err != nil {
		all += err.Error()
	}
	for _, s := range secrets {
		if strings.Contains(all, s) {
			t.Errorf("%q shows %q", all, s)
		}
	}
	return answer, err
}

var trouble = Event{
	Key: "backup/crm", Kind: BackupFailed, Severity: Critical, Repository: "crm-prod", Host: "db1", Policy: "crm", Source: "crm", Target: "vault",
	Title: "the backup of crm failed", Detail: "write to vault: no space left on device: make room there", At: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC),
}
