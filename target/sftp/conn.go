package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// conn is a connection with one SFTP session. Operations share it: SFTP numbers its requests.
type conn struct {
	net    net.Conn // with a limit around heard, if there is one: what waits for it has been heard
	heard  *counted
	ssh    *ssh.Client
	client *sftp.Client

	once sync.Once
	dead chan struct{} // closed by breakOff
	why  error         // set before that
}

// counted counts the reads of a connection that brought something.
type counted struct {
	net.Conn
	reads atomic.Uint64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.reads.Add(1)
	}
	return n, err
}

// againError marks what a new attempt may mend: a connection that was lost, or cannot be made now.
type againError struct{ error }

func (e againError) Unwrap() error { return e.error }

// breakOff ends the connection; what waits for it fails at once.
func (c *conn) breakOff(why error) {
	c.once.Do(func() {
		c.why = why
		close(c.dead)
		_ = c.net.Close() // it is given up
	})
}

func (c *conn) alive() bool {
	select {
	case <-c.dead:
		return false
	default:
		return true
	}
}

// silences is how many beats may pass without a byte from the host: with the beat of 15 s, 45 s.
const silences = 3

// watch breaks the connection off when the host falls silent, or ends it. Any byte is a sign of life, because an answer to
// a keep-alive may be queued behind megabytes on a slow line.
func (c *conn) watch(beat time.Duration) {
	go func() {
		err := c.client.Wait()
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("the host closed it")
		}
		c.breakOff(err)
	}()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	last, silent := c.heard.reads.Load(), 0
	for {
		select {
		case <-c.dead:
			return
		case <-tick.C:
		}
		heard := c.heard.reads.Load()
		if heard != last {
			last, silent = heard, 0
			continue
		}
		switch silent++; silent {
		case 1:
			// The refusal that is the usual answer serves as well; an error is noticed by Wait.
			go func() { _, _, _ = c.ssh.SendRequest("keepalive@openssh.com", true, nil) }()
		case silences:
			c.breakOff(fmt.Errorf("the host did not answer for %v", silences*beat))
			return
		}
	}
}

// call makes requests on a connection. Once ctx is done it returns without waiting for f, which goes on until the host
// answers or the connection ends: f must not touch what is not its own.
func call[T any](ctx context.Context, c *conn, f func(*sftp.Client) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		v, err := f(c.client)
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		return a.value, c.judge(a.err)
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// do is call without a result.
func do(ctx context.Context, c *conn, f func(*sftp.Client) error) error {
	_, err := call(ctx, c, func(s *sftp.Client) (struct{}, error) { return struct{}{}, f(s) })
	return err
}

// judge tells the host's answers from the loss of the connection.
func (c *conn) judge(err error) error {
	if err == nil || err == io.EOF || isAnswer(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	c.breakOff(err)
	return againError{fmt.Errorf("the connection was lost: %w", c.why)}
}

func isAnswer(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// offers reports whether the server has an extension of OpenSSH.
func (c *conn) offers(extension string) bool {
	_, ok := c.client.HasExtension(extension + "@openssh.com")
	return ok
}
