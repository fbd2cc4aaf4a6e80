package bandwidth

import (
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pieces of what a rate allows in a second pass one by one: a connection that waits, waits so long for each other one that does,
// and then goes on by the rate that holds by then.
const pieces = 20

// Limit holds the connections of a target, all together, to a Schedule, in each direction. A nil Limit is none.
type Limit struct {
	schedule Schedule
	now      func() time.Time
	up, down meter
}

// New makes a Limit; nil where the schedule has no window.
func New(s Schedule, now func() time.Time) *Limit {
	if len(s.Windows) == 0 {
		return nil
	}
	return &Limit{schedule: s, now: now}
}

// meter counts what passes in one direction. The zero meter is ready for use.
type meter struct {
	mu      sync.Mutex
	rate    Rate // that limiter is set to
	limiter *rate.Limiter
}

// take lets up to want bytes pass: n of them, once wait is over.
func (m *meter) take(now time.Time, r Rate, want int) (n int, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r == 0 {
		m.limiter = nil
		return want, 0
	}
	if m.limiter == nil {
		m.rate, m.limiter = r, rate.NewLimiter(rate.Limit(r), piece(r))
	} else if m.rate != r {
		m.rate = r
		m.limiter.SetLimitAt(now, rate.Limit(r))
		m.limiter.SetBurstAt(now, piece(r))
	}
	n = min(want, piece(r))
	return n, m.limiter.ReserveN(now, n).DelayFrom(now)
}

// piece is what passes at a time.
func piece(r Rate) int { return int(min(r/pieces, 1<<30)) }

// Conn is c held to the limit. To close it ends what waits at once. A wait does not count against the deadlines that are set.
func (l *Limit) Conn(c net.Conn) net.Conn {
	if l == nil {
		return c
	}
	return &conn{Conn: c, limit: l, closed: make(chan struct{})}
}

type conn struct {
	net.Conn
	limit  *Limit
	once   sync.Once
	closed chan struct{}
}

// pass waits until up to want bytes may pass, and says how many.
func (c *conn) pass(m *meter, want int) (int, error) {
	now := c.limit.now()
	n, wait := m.take(now, c.limit.schedule.At(now), want)
	if wait <= 0 {
		return n, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return n, nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *conn) Write(p []byte) (written int, err error) {
	for {
		n, err := c.pass(&c.limit.up, len(p)-written)
		if err != nil {
			return written, err
		}
		n, err = c.Conn.Write(p[written : written+n])
		if written += n; err != nil || written == len(p) {
			return written, err
		}
	}
}

// Read waits after it has read, because only then is it known how much came: meanwhile the peer is held up by the window of TCP.
func (c *conn) Read(p []byte) (int, error) {
	if r := c.limit.schedule.At(c.limit.now()); r > 0 {
		p = p[:min(len(p), piece(r))]
	}
	n, err := c.Conn.Read(p)
	for paid := 0; paid < n; {
		took, werr := c.pass(&c.limit.down, n-paid)
		if werr != nil {
			return n, werr
		}
		paid += took
	}
	return n, err
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
