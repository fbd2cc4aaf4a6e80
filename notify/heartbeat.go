package notify

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"lifeboat/config"
)

// heartbeatTries are made before a heartbeat is given up: whoever waits for it takes one that is missing for a backup that is.
const heartbeatTries = 3

// Heartbeat calls the URL of a dead man's switch, which raises the alarm when it is not called any more: what no message of a host
// that is down can do. Its error names the host alone.
func Heartbeat(ctx context.Context, u config.Secret) error {
	parsed, err := url.Parse(u.Reveal())
	if err != nil || parsed.Host == "" {
		return errors.New("call the heartbeat: its URL is none: correct heartbeat")
	}
	p := newPeer("", parsed, append(urlSecrets(parsed), strings.Split(parsed.Path, "/")...)...)
	_, err = backoff.Retry(ctx, func() (string, error) {
		return within(ctx, sendLimit, "call the heartbeat at "+parsed.Host, func(ctx context.Context) (string, error) {
			_, _, err := p.exchange(ctx, http.MethodGet, p.url, nil)
			return "", err
		})
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{InitialInterval: time.Second, Multiplier: 3, MaxInterval: 10 * time.Second}), backoff.WithMaxTries(heartbeatTries))
	return err
}
