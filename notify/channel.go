package notify

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"lifeboat/config"
	"lifeboat/internal/clock"
	"lifeboat/internal/redact"
	"lifeboat/internal/secretfile"
)

// Channel is a way to people. It is safe for concurrent use.
type Channel interface {
	// Name is the kind and where it leads, for logs and metrics; it never holds a secret.
	Name() string

	// Send delivers one message and returns what the peer answered. An error holds no secret, whatever the peer answered; it is a
	// *backoff.PermanentError where trying again would change nothing. It gives up when ctx ends.
	Send(ctx context.Context, e Event) (answer string, err error)
}

// sendLimit is how long one attempt may take.
const sendLimit = 30 * time.Second

// Open makes the channels of a configuration: one for each webhook, each robot and each person who gets mail, so that one who cannot
// be reached does not keep the others from being told. Beside an error it returns those that it does not concern. Nothing is sent.
func Open(cfg []config.Notify) (out []Channel, err error) {
	seen := map[string]int{}
	for i, c := range cfg {
		opened, oerr := open(c, func(name string) string {
			if seen[name]++; seen[name] > 1 {
				return fmt.Sprintf("%s (%d)", name, seen[name])
			}
			return name
		})
		if oerr != nil {
			err = errors.Join(err, fmt.Errorf("notify, number %d, by %s: %w", i+1, c.Kind, oerr))
			continue
		}
		out = append(out, opened...)
	}
	return out, err
}

// open makes the channels of one place. unique tells those of one name apart.
func open(c config.Notify, unique func(string) string) ([]Channel, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || u.Host == "" {
		return nil, errors.New("its URL is none") // the reason could hold the secret
	}
	name := c.Kind + " " + u.Host
	switch c.Kind {
	case "webhook":
		return []Channel{webhook{newPeer(unique(name), u, append(urlSecrets(u), strings.Split(u.Path, "/")...)...)}}, nil
	case "dingtalk":
		secret, err := secretfile.Read(c.SecretFile, "secret file")
		return []Channel{robot{newPeer(unique(name), u, append(urlSecrets(u), secret)...), maxDingTalk, secret}}, err
	case "wecom":
		return []Channel{robot{newPeer(unique(name), u, urlSecrets(u)...), maxWeCom, ""}}, nil
	case "smtp":
		password, err := secretfile.Read(c.PasswordFile, "password file")
		if err != nil {
			return nil, err
		}
		if inline, ok := u.User.Password(); ok {
			password = inline
		}
		var out []Channel
		for _, to := range c.To {
			out = append(out, newMail(unique(name+" to "+to), u, password, cmp.Or(c.From, address(u.User.Username()), to), to))
		}
		return out, nil
	}
	return nil, errors.New("this version does not know it")
}

// address is s if it is one of mail.
func address(s string) string {
	if strings.Contains(s, "@") {
		return s
	}
	return ""
}

// Test sends a message by one channel, once, and returns what the peer answered.
func Test(ctx context.Context, c Channel) (answer string, err error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name this host: %w", err)
	}
	now := clock.System()
	return attempt(ctx, c, Event{
		Kind: Testing, Severity: Info, Host: host, Title: "this is a test",
		Detail: "Nothing happened. Messages about backups come this way.",
	}.tidy(now), sendLimit)
}

// attempt sends e once, within the limit.
func attempt(ctx context.Context, c Channel, e Event, limit time.Duration) (answer string, err error) {
	return within(ctx, limit, "send to "+c.Name(), func(ctx context.Context) (string, error) { return c.Send(ctx, e) })
}

// within does what a verb says, and gives it up after a limit. That it is no use to try again stays known.
func within(ctx context.Context, limit time.Duration, verb string, do func(context.Context) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	answer, err := do(ctx)
	if err == nil {
		return answer, nil
	}
	if cause := context.Cause(ctx); cause != nil { // whatever else came of it
		err = cause
	}
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		return "", backoff.Permanent(fmt.Errorf("%s: %w", verb, permanent.Err))
	}
	return "", fmt.Errorf("%s: %w", verb, err)
}

// hidden are the secrets of a channel. A peer may repeat them.
type hidden []string

// minSecret keeps what is too short to be one from tearing words apart.
const minSecret = 4

// newHidden takes the secrets in all forms in which they are sent.
func newHidden(secrets ...string) hidden {
	var h hidden
	for _, s := range secrets {
		if len(s) >= minSecret {
			h = append(h, s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s)))
		}
	}
	slices.SortFunc(h, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	return slices.Compact(h)
}

// urlSecrets are the parts of a URL that let its owner in.
func urlSecrets(u *url.URL) []string {
	password, _ := u.User.Password()
	out := []string{u.RawQuery, u.Fragment, u.User.Username(), password, u.User.Username() + ":" + password}
	for _, values := range u.Query() {
		out = append(out, values...)
	}
	return out
}

const maxAnswer = 300

// line makes what a peer said, or what came of asking it, fit for a log.
func (h hidden) line(s string) string {
	for _, secret := range h {
		s = strings.ReplaceAll(s, secret, redact.Mark)
	}
	return clip(oneLine(redact.Text(s)), maxAnswer)
}

// err is an error of that text. It does not wrap what could be printed with a secret.
func (h hidden) err(format string, args ...any) error {
	return errors.New(h.line(fmt.Sprintf(format, args...)))
}
