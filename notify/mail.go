package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/cenkalti/backoff/v5"
	"github.com/wneessen/go-mail"
)

const (
	maxMail = 16 << 10 // of text
	maxSMTP = 1 << 20  // of what a server says, in all
)

// mailbox is one person who gets mail by way of a server.
type mailbox struct {
	name     string
	url      *url.URL
	password string
	from, to string
	port     int
	implicit bool // TLS from the first byte on
	starttls bool
	hidden   hidden
}

func newMail(name string, u *url.URL, password, from, to string) mailbox {
	user := u.User.Username()
	m := mailbox{name: name, url: u, password: password, from: from, to: to, hidden: newHidden(password, "\x00"+user+"\x00"+password)}
	m.implicit = u.Scheme == "smtps"
	m.starttls = !m.implicit && (u.Query().Get("tls") == "starttls" || u.Query().Get("tls") == "" && !loopback(u.Hostname()))
	port, _ := strconv.Atoi(u.Port()) // a URL has digits there, or nothing
	switch {
	case m.implicit:
		m.port = cmp.Or(port, 465)
	case m.starttls:
		m.port = cmp.Or(port, 587)
	default:
		m.port = cmp.Or(port, 25)
	}
	return m
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Name implements Channel.
func (m mailbox) Name() string { return m.name }

// Send implements Channel.
func (m mailbox) Send(ctx context.Context, e Event) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the connection, whatever state it is in
	msg, err := m.message(e)
	if err != nil {
		return "", backoff.Permanent(m.hidden.err("write the mail: %v", err))
	}
	c, err := m.client(ctx)
	if err != nil {
		return "", backoff.Permanent(m.hidden.err("%v", err))
	}
	conn, err := c.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return "", m.refusal(err)
	}
	if err := c.SendWithSMTPClient(conn, msg); err != nil && !msg.IsDelivered() {
		return "", m.refusal(err)
	}
	_ = conn.Quit() // what was taken is taken, however the server parts
	return m.hidden.line(msg.ServerResponse()), nil
}

func (m mailbox) message(e Event) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(m.from), msg.To(m.to)); err != nil {
		return nil, err
	}
	msg.Subject(e.headline())
	msg.SetDate()
	msg.SetMessageID()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody answers that he is on holiday
	if e.Severity == Critical && !e.Recovered {
		msg.SetImportance(mail.ImportanceHigh)
	}
	msg.SetBodyString(mail.TypeTextPlain, e.text(maxMail))
	return msg, nil
}

func (m mailbox) client(ctx context.Context) (*mail.Client, error) {
	options := []mail.Option{
		mail.WithPort(m.port), mail.WithTimeout(sendLimit), mail.WithTLSPolicy(mail.NoTLS), mail.WithDialContextFunc(m.dialer(ctx)),
	}
	if m.starttls {
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if user := m.url.User.Username(); user != "" {
		// Without TLS, the last two are refused but to this host itself.
		options = append(options, mail.WithUsername(user), mail.WithPassword(m.password),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	return mail.NewClient(m.url.Hostname(), options...)
}

// dialer connects to the server until ctx ends, which the library looks at no more once it is connected.
func (m mailbox) dialer(ctx context.Context) mail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = raw.Close() }) // it serves nothing any more
		conn := &bounded{raw, maxSMTP}
		if !m.implicit {
			return conn, nil
		}
		secure := tls.Client(conn, &tls.Config{ServerName: m.url.Hostname(), MinVersion: tls.VersionTLS12})
		return secure, secure.HandshakeContext(dialing)
	}
}

// bounded is a connection on which so many bytes are read at most.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("it says too much")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// refusal is an error of the library in few words; permanent where the server said so.
func (m mailbox) refusal(err error) error {
	var sent *mail.SendError
	var answer *textproto.Error
	code := 0
	switch {
	case errors.As(err, &sent):
		code = sent.ErrorCode()
	case errors.As(err, &answer):
		code = answer.Code
	}
	text, _, _ := strings.Cut(err.Error(), ", affected ") // the recipient is in the name, and nobody knows the message by its ID
	refused := m.hidden.err("%s%s", text, m.advice(code, text))
	if code >= 500 {
		return backoff.Permanent(refused)
	}
	return refused
}

// advice says what to do about an error.
func (m mailbox) advice(code int, text string) string {
	switch {
	case code == 535 || code == 534 || code == 530:
		return ": check the user in its URL and password_file"
	case strings.Contains(text, "does not support STARTTLS"):
		return ": write smtps:// if it speaks TLS from the beginning on; ?tls=none gives TLS up"
	case strings.Contains(text, "unencrypted connection"):
		return ": it wants the password unprotected, and does not get it: take ?tls=none out"
	case code == 0:
		return fmt.Sprintf(": check the server, its port %d and the firewall", m.port)
	}
	return ""
}
