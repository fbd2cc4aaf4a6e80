package chunkstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/target"
)

const (
	// rest is how long a copy that failed is asked last, and how long one that others are preferred to is not measured again.
	rest = 20 * time.Second
	// patience is the shortest time after which another copy is asked besides one that is too slow, and silence the one where nothing comes
	// any more, and how fast it should be is not known. A disk that is busy writing what is restored lets reads wait for parts of a second.
	patience = time.Second
	silence  = 3 * time.Second
	// far is how many times longer than expected a read takes before another copy is asked besides.
	far = 4
	// requestCost is how many bytes could be read in the time that a request takes by itself, about.
	requestCost = 256 << 10
)

// Copies are targets that hold the same objects. They are measured while they are read, and the one that yields most is asked first. It
// is safe for concurrent use.
type Copies struct {
	missed func(n int, err error)
	saying sync.Mutex // missed is called by one goroutine at a time

	mu  sync.Mutex
	all []health
}

// health is what is known of a copy.
type health struct {
	target target.Target
	pace   float64   // nanoseconds per byte, averaged, all reads under way taken together; 0: it has yielded nothing yet
	failed time.Time // zero: not since it last yielded something
	last   time.Time // when a read ended
	busy   int       // reads under way
	told   bool      // that another copy served in its place
}

// NewCopies makes Copies of targets, the one to ask first until all are measured being the first. missed, which may be nil, is told once for
// each why another one served in the place of the n-th.
func NewCopies(targets []target.Target, missed func(n int, err error)) *Copies {
	c := &Copies{missed: missed}
	for _, t := range targets {
		c.all = append(c.all, health{target: t})
	}
	return c
}

// Request is something to read.
type Request struct {
	Size   int  // bytes, about
	Places int  // of each copy, where it may be; they are tried in turn
	Ahead  bool // others are under way, so that this one can measure a copy that was not read lately

	// Read reads it from the given place on t. It runs in a goroutine of its own and may go on when another one has served already, so it
	// writes only to what is its own. What it returns is called by the goroutine that called Copies.Read, and its error counts like one of reading.
	Read func(ctx context.Context, t Copy, place int) (take func() error, err error)
}

// Copy is one of Copies, for one reading.
type Copy struct {
	target.Target
	N     int // which one it is
	begun time.Time
	*progress
}

// progress of a read.
type progress struct {
	got   atomic.Int64 // bytes
	moved atomic.Int64 // when the last one came, in nanoseconds since it began
	late  bool         // for whoever waits for it
}

// Get implements target.Target.
func (t Copy) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := t.Target.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	return counted{r, t}, nil
}

type counted struct {
	io.ReadCloser
	of Copy
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.of.got.Add(int64(n))
	c.of.moved.Store(int64(clock.System().Sub(c.of.begun)))
	return n, err
}

// Read does what is requested with one copy after another until it succeeds: with the next one at once where one fails, and besides where it
// takes far longer than it should. Whichever is right first counts, and the others are cancelled. The error is that of all.
func (c *Copies) Read(ctx context.Context, r Request) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &race{Copies: c, Request: r, ctx: work, order: c.order(r.Ahead), ended: make(chan outcome)}
	if len(x.order) == 1 {
		return x.alone()
	}
	return x.run()
}

// order lists the copies, the one to ask first first, and counts that one as busy.
func (c *Copies) order(ahead bool) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, under := clock.System(), 0
	var out []int
	for n := range c.all {
		out = append(out, n)
		under += c.all[n].busy
	}
	rank := func(n int) int {
		switch h := &c.all[n]; {
		case h.busy == 0 && now.Sub(h.last) > rest && (!h.failed.IsZero() || ahead && under > 0):
			return 0 // one read finds out how it is
		case !h.failed.IsZero():
			return 3
		case h.pace == 0:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), c.all[a].failed.Compare(c.all[b].failed), cmp.Compare(c.all[a].pace, c.all[b].pace))
	})
	c.all[out[0]].busy++
	return out
}

// yielded notes the end of a read.
func (c *Copies) yielded(t Copy, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, now := &c.all[t.N], clock.System()
	if got := t.got.Load(); err == nil && got >= requestCost { // smaller reads tell little of more than the distance
		pace := max(float64(now.Sub(t.begun))/float64(got+requestCost)/float64(h.busy), 1e-9)
		if h.pace > 0 && h.failed.IsZero() {
			pace = (3*h.pace + pace) / 4
		}
		h.pace = pace
	}
	if err == nil && t.begun.After(h.failed) {
		h.failed = time.Time{}
	}
	h.last = now
	h.busy--
}

// fail notes that a copy did not yield what it should: it is asked last for a while. An object that it does not have says nothing of the others, and a
// copy that is not up to date need not have it. Where the identity is the wrong one, no other copy helps.
func (c *Copies) fail(n int, err error) {
	if len(c.all) == 1 || errors.Is(err, crypto.ErrIdentity) {
		return
	}
	c.mu.Lock()
	h := &c.all[n]
	absent := errors.Is(err, fs.ErrNotExist)
	if !absent {
		h.failed = clock.System()
	}
	tell := !h.told && c.missed != nil && (!absent || n == 0)
	h.told = h.told || tell
	c.mu.Unlock()
	if tell {
		c.saying.Lock()
		defer c.saying.Unlock()
		c.missed(n, err)
	}
}

// late reports whether a read of size bytes takes far longer than it should, or came to a halt.
func (c *Copies) late(t Copy, size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	took, expected := clock.System().Sub(t.begun), 0.0
	for n, h := range c.all {
		if h.pace > 0 && (h.failed.IsZero() || n == t.N) {
			if e := h.pace * float64(size+requestCost) * float64(max(h.busy, 1)); expected == 0 || e < expected {
				expected = e
			}
		}
	}
	halted := took-time.Duration(t.moved.Load()) > max(silence, time.Duration(expected))
	return halted || expected > 0 && took > max(patience, time.Duration(far*expected))
}

// suspect notes that a read is late: the copy is asked last until it has proven itself.
func (c *Copies) suspect(t Copy) {
	t.late = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[t.N].failed = clock.System()
}

// overtaken notes that another copy served meanwhile, which matters of one that was late. Of one that answered and was not known before, that says
// only that it is slow.
func (c *Copies) overtaken(t Copy) {
	c.mu.Lock()
	slow := c.all[t.N].pace == 0 && t.got.Load() > 0
	c.mu.Unlock()
	if t.late && !slow {
		c.fail(t.N, fmt.Errorf("it takes far longer than it should: %d bytes in %s", t.got.Load(), clock.System().Sub(t.begun).Round(time.Second/10)))
	}
}
