package s3

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"time"

	"lifeboat/internal/clock"
)

// conn is a connection that ends when no byte moves on it for its patience, in either direction: a peer that is gone
// without a word must not hold up a backup. A slow one may take as long as it likes. A limit of the bandwidth is outside of it: while
// that waits, no deadline runs here but the one of a Read that was under way, which each piece that is written puts off.
type conn struct {
	net.Conn
	patience time.Duration
}

// errStalled says what a timeout of package net does not.
type errStalled time.Duration

func (e errStalled) Error() string {
	return fmt.Sprintf("the connection is dead: no byte moved for %s", time.Duration(e))
}
func (errStalled) Timeout() bool   { return true }
func (errStalled) Temporary() bool { return true }

func (c *conn) Read(p []byte) (int, error) {
	queued := math.MaxInt
	for {
		if err := c.SetReadDeadline(clock.System().Add(c.patience)); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		// What was written may still be on its way.
		left := unsent(c.Conn)
		if left == 0 || left >= queued {
			return 0, errStalled(c.patience)
		}
		queued = left
	}
}

func (c *conn) Write(p []byte) (written int, err error) {
	queued := math.MaxInt
	for {
		// Whoever waits for the answer meanwhile waits from the last byte on.
		if err := c.SetDeadline(clock.System().Add(c.patience)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
		left := unsent(c.Conn)
		if n == 0 && left >= queued {
			return written, errStalled(c.patience)
		}
		queued = left
	}
}
