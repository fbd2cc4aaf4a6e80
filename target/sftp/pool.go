package sftp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Attempts of an operation, and the pause after the first; it doubles, and a random part of it is left out.
const (
	attempts = 6
	pause    = 100 * time.Millisecond
)

// slot is a place for a connection.
type slot struct {
	users int           // guarded by Target.mu
	turn  chan struct{} // holds a token while somebody connects
	conn  atomic.Pointer[conn]
}

func newSlot() *slot { return &slot{turn: make(chan struct{}, 1)} }

func (s *slot) live() *conn {
	if c := s.conn.Load(); c != nil && c.alive() {
		return c
	}
	return nil
}

// cost orders slots: an idle connection, then a new one, then those with fewer users.
func (s *slot) cost() int {
	if s.live() != nil {
		return 2 * s.users
	}
	return 2*s.users + 1
}

// acquire returns the connection that has the least to do, or a new one. release ends the use of it.
func (t *Target) acquire(ctx context.Context) (c *conn, release func(), err error) {
	t.mu.Lock()
	s := t.slots[0]
	for _, other := range t.slots[1:] {
		if other.cost() < s.cost() {
			s = other
		}
	}
	s.users++
	t.mu.Unlock()
	release = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.users--
	}
	if c, err = t.connect(ctx, s); err != nil {
		release()
		return nil, nil, err
	}
	return c, release, nil
}

// connect returns the connection of a slot, which is made anew if it is broken. One caller does that, the others wait.
func (t *Target) connect(ctx context.Context, s *slot) (*conn, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.turn }()
	if c := s.live(); c != nil {
		return c, nil
	}
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	s.conn.Store(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.breakOff(errClosed)
		return nil, errClosed
	}
	return c, nil
}

// retry runs op on a connection, and again on another one while the connection is lost, a bounded number of times.
func (t *Target) retry(ctx context.Context, op func(context.Context, *conn) error) error {
	return repeat(ctx, func(ctx context.Context) error {
		c, release, err := t.acquire(ctx)
		if err != nil {
			return err
		}
		defer release()
		return op(ctx, c)
	})
}

func repeat(ctx context.Context, op func(context.Context) error) error {
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := op(ctx)
		var again againError
		if err == nil || !errors.As(err, &again) || errors.Is(err, errClosed) {
			return err
		}
		if n == attempts {
			return fmt.Errorf("%w (%d attempts): check the host and the network, then start again", err, n)
		}
		full := pause << (n - 1)
		select {
		case <-time.After(full/2 + rand.N(full/2)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
