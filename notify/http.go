package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/cenkalti/backoff/v5"
)

const (
	maxBody    = 16 << 10 // of an answer
	maxHeaders = 64 << 10
)

// client follows no redirects: they may lead to another host, and a message would become a GET without it. Connections are not kept,
// because there is little to say.
var client = &http.Client{
	Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeaders, ForceAttemptHTTP2: true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// peer is an HTTP server.
type peer struct {
	name string
	url  *url.URL
	hidden
}

func newPeer(name string, u *url.URL, secrets ...string) peer {
	return peer{name, u, newHidden(secrets...)}
}

// Name implements Channel.
func (p peer) Name() string { return p.name }

// exchange sends one request, JSON if there is a body, and returns the beginning of what is answered with a status of success. That
// status says that the request was taken, also where what follows does not end, or breaks off, which is cut: sent again, people would get it twice.
func (p peer) exchange(ctx context.Context, method string, u *url.URL, body []byte) (answer []byte, cut, err error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, p.err("make a request: %v", reason(err))
	}
	req.Header.Set("User-Agent", "lifeboat")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, p.err("no answer: %v: check the URL, the network and the firewall", reason(err))
	}
	defer resp.Body.Close()
	answer, cut = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return nil, nil, backoff.Permanent(p.err("it answered %s, to %s: write the final address into the configuration, redirects are not followed", resp.Status, destination(resp)))
	case code < 200 || code > 299:
		err := p.err("it answered %s%s%s", resp.Status, p.said(answer), advice(code))
		if code >= 400 && code < 500 && !slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooManyRequests}, code) {
			err = backoff.Permanent(err)
		}
		return nil, nil, err
	}
	return answer, cut, nil
}

// reason is what went wrong, without the URL.
func reason(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// destination is the host that a redirect leads to; the rest of the address may hold the secret.
func destination(resp *http.Response) string {
	to, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return to.Scheme + "://" + to.Host
}

// said is the beginning of an answer, in brackets.
func (p peer) said(answer []byte) string {
	if s := p.line(string(answer)); s != "" {
		return fmt.Sprintf(" (%s)", clip(s, maxAnswer/2))
	}
	return ""
}

func advice(code int) string {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ": check the secret in its URL"
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return ": check its URL"
	}
	return ""
}
