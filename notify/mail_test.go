package notify

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"lifeboat/config"
)

const password = "hunter2-of-the-mail"

// letter is a mail that a server took.
type letter struct{ user, from, to, data string }

// post is an SMTP server.
type post struct {
	*smtp.Server
	addr     string
	got      chan letter
	refuse   error // what it says to every recipient
	loginErr error // what it says to every password
}

// servePost starts a server that offers STARTTLS where it has a certificate, and everything inside of TLS where it is implicit.
func servePost(t *testing.T, cert *tls.Certificate, implicit bool) *post {
	t.Helper()
	p := &post{got: make(chan letter, 100)}
	p.Server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{post: p}, nil }))
	p.AllowInsecureAuth, p.Domain, p.ErrorLog = cert == nil, "localhost", quiet{}
	if cert != nil {
		p.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	if implicit {
		l = tls.NewListener(l, p.TLSConfig)
	}
	done := make(chan error, 1)
	go func() { done <- p.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), <-done); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return p
}

// quiet takes what the server logs of clients that left.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

type session struct {
	*post
	letter letter
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if s.loginErr != nil {
			return s.loginErr
		}
		if pass != password {
			return smtp.ErrAuthFailed
		}
		s.letter.user = user
		return nil
	}), nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.letter.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.letter.to = to
	return s.refuse
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.letter.data = string(b)
	s.got <- s.letter
	return err
}

func mailTo(t *testing.T, url string) Channel {
	t.Helper()
	c := config.Notify{Kind: "smtp", URL: config.Secret(url), To: []string{"ops@example.com"}}
	if strings.Contains(url, "@") {
		c.PasswordFile = secretFile(t, password)
	}
	return opened(t, c)
}

func TestMail(t *testing.T) {
	for _, tt := range []struct {
		name       string
		cert       *tls.Certificate
		implicit   bool
		url        string
		user, from string
	}{
		{"STARTTLS and password", &certificate, false, "smtp://crm@example.com@ADDR?tls=starttls", "crm@example.com", "crm@example.com"},
		{"TLS from the beginning", &certificate, true, "smtps://lifeboat@ADDR", "lifeboat", "ops@example.com"},
		{"to this host without TLS", nil, false, "smtp://lifeboat@ADDR", "lifeboat", "ops@example.com"},
		{"without a password", nil, false, "smtp://ADDR", "", "ops@example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := servePost(t, tt.cert, tt.implicit)
			c := mailTo(t, strings.Replace(tt.url, "ADDR", p.addr, 1))
			if want := "smtp " + p.addr + " to ops@example.com"; c.Name() != want {
				t.Errorf("%s, want %s", c.Name(), want)
			}
			answer, err := sent(t, c, trouble, password)
			if err != nil || !strings.Contains(answer, "OK: queued") {
				t.Fatalf("%q, %v", answer, err)
			}
			got := next(t, p.got)
			if got.user != tt.user || got.from != tt.from || got.to != "ops@example.com" {
				t.Errorf("%+v", got)
			}
			m, err := mail.ReadMessage(strings.NewReader(got.data))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(m.Body)
			if err != nil || strings.TrimSpace(strings.ReplaceAll(string(body), "\r\n", "\n")) != trouble.text(1000) {
				t.Errorf("%v: %s", err, body)
			}
			h := m.Header
			if h.Get("Subject") != trouble.headline() || h.Get("To") != "<ops@example.com>" || h.Get("From") != "<"+tt.from+">" ||
				h.Get("Auto-Submitted") != "auto-generated" || h.Get("Importance") != "high" || h.Get("Message-ID") == "" || h.Get("Date") == "" {
				t.Errorf("%v", h)
			}
		})
	}
}

// TestMailRefused is about servers that do not take a mail, or what they would have to be trusted with.
func TestMailRefused(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cert     *tls.Certificate
		url      string
		refuse   error
		loginErr error
		want     string
		final    bool
	}{
		{"no such person", nil, "smtp://ADDR", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}, nil,
			"sending SMTP RCPT TO command: 550 \"5.1.1 no such user\"", true},
		{"later", nil, "smtp://ADDR", &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "greylisted"}, nil,
			"sending SMTP RCPT TO command: 450 \"4.2.0 greylisted\"", false},
		{"wrong password, repeated", nil, "smtp://u@ADDR", nil, &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "bad password " + password + " AHUAaHVudGVyMi1vZi10aGUtbWFpbA=="},
			"535 \"5.7.8 bad password [redacted] [redacted]\": check the user in its URL and password_file", true},
		{"no TLS", nil, "smtp://u@ADDR?tls=starttls", nil, nil, "does not support STARTTLS: write smtps://", false},
		{"TLS where none is", nil, "smtps://u@ADDR", nil, nil, "first record does not look like a TLS handshake: check the server, its port", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := servePost(t, tt.cert, false)
			p.refuse, p.loginErr = tt.refuse, tt.loginErr
			_, err := sent(t, mailTo(t, strings.Replace(tt.url, "ADDR", p.addr, 1)), trouble, password, "hunter2", "aHVudGVyMi1v")
			if err == nil || !strings.Contains(err.Error(), tt.want) || permanent(err) != tt.final || len(p.got) > 0 {
				t.Errorf("final %v: %v", permanent(err), err)
			}
		})
	}
}

// TestMailNeedsTLS sends no password and no message to another host without TLS, unless told to; and then no password.
func TestMailNeedsTLS(t *testing.T) {
	for url, want := range map[string]mailbox{
		"smtp://mail":               {port: 587, starttls: true},
		"smtp://mail:25":            {port: 25, starttls: true},
		"smtp://mail?tls=none":      {port: 25},
		"smtps://mail":              {port: 465, implicit: true},
		"smtp://localhost":          {port: 25},
		"smtp://[::1]?tls=starttls": {port: 587, starttls: true},
	} {
		if got := mailTo(t, url).(mailbox); got.port != want.port || got.starttls != want.starttls || got.implicit != want.implicit {
			t.Errorf("%s: %+v", url, got)
		}
	}
	p := servePost(t, nil, false)
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	addr := "0.0.0.0:" + port // leads to this host, and does not look like it
	if _, err := sent(t, mailTo(t, "smtp://u@"+addr+"?tls=none"), trouble, password); err == nil || !strings.Contains(err.Error(), "it wants the password unprotected, and does not get it") {
		t.Errorf("%v", err)
	}
	if _, err := sent(t, mailTo(t, "smtp://"+addr), trouble); err == nil || !strings.Contains(err.Error(), "does not support STARTTLS") || len(p.got) > 0 {
		t.Errorf("%v", err)
	}
	if _, err := sent(t, mailTo(t, "smtp://"+addr+"?tls=none"), trouble); err != nil || next(t, p.got).user != "" {
		t.Errorf("%v", err)
	}
	secure := servePost(t, &certificate, false)
	_, port, err = net.SplitHostPort(secure.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sent(t, mailTo(t, "smtp://u@localhost:"+port+"?tls=starttls"), trouble, password); err == nil || !strings.Contains(err.Error(), "certificate is valid for") {
		t.Errorf("the certificate of another: %v", err)
	}
}

// TestMailServerMisbehaves is about what listens there and is no mail server that works.
func TestMailServerMisbehaves(t *testing.T) {
	for _, tt := range []struct {
		name string
		talk func(net.Conn)
		want string
	}{
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "no answer within 200ms"},
		{"silent later", func(c net.Conn) { _, _ = io.WriteString(c, "220 hello\r\n"); _, _ = io.Copy(io.Discard, c) }, "no answer within 200ms"},
		{"hangs up", func(net.Conn) {}, "EOF: check the server, its port"},
		{"full", func(c net.Conn) { _, _ = io.WriteString(c, "421 too many connections\r\n") }, "421 \"too many connections\""},
		{"endless", func(c net.Conn) {
			for _, err := io.WriteString(c, "220-hello"); err == nil; {
				_, err = io.WriteString(c, strings.Repeat("o", 4096))
			}
		}, "it says too much"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan struct{}, 1)
			go func() {
				if c, err := l.Accept(); err == nil {
					tt.talk(c)
					_ = c.Close()
				}
				closed <- struct{}{}
			}()
			limit := time.Minute
			if strings.Contains(tt.want, "200ms") {
				limit = 200 * time.Millisecond
			}
			_, err = attempt(t.Context(), mailTo(t, "smtp://"+l.Addr().String()), trouble, limit)
			if err == nil || !strings.Contains(err.Error(), tt.want) || permanent(err) {
				t.Errorf("final %v: %v", permanent(err), err)
			}
			next(t, closed) // the client left
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
