package notify

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	perHour   = 20  // messages of one channel
	perDigest = 100 // events
	maxQueue  = 200 // events that wait for one channel
)

// line is a channel with what waits for it.
type line struct {
	channel Channel
	wake    chan struct{}
	state   *lineState
	flying  int // so many of the first of the queue are being sent
}

func newLine(c Channel, s *lineState) *line {
	if s == nil {
		s = &lineState{Open: map[string]told{}}
	}
	return &line{channel: c, wake: make(chan struct{}, 1), state: s}
}

// call makes the line look at its queue.
func (l *line) call() {
	select {
	case l.wake <- struct{}{}:
	default: // it was called already
	}
}

// push adds an event to the queue. If that is full, the oldest event that is not being sent makes room.
func (l *line) push(e Event, now time.Time) (dropped Event, full bool) {
	q := append(l.state.Queue, waiting{e, now})
	if full = len(q) > maxQueue; full {
		dropped = q[l.flying].Event
		l.state.lost(dropped, now)
		q = slices.Delete(q, l.flying, l.flying+1)
	}
	l.state.Queue = q
	return dropped, full
}

// serve sends what is in the queue, one message after another, until ctx ends.
func (n *Notifier) serve(ctx context.Context, l *line) {
	for ctx.Err() == nil {
		batch, wait := n.next(l)
		if len(batch) == 0 {
			l.sleep(ctx, wait)
			continue
		}
		err := n.deliver(ctx, l, batch)
		if err != nil && ctx.Err() != nil {
			return // it stays in the queue
		}
		n.settle(l, batch, err)
	}
}

// next is what the next message is made of, or how long there is none; zero is until a call. The last message that an hour allows takes along
// everything that waits.
func (n *Notifier) next(l *line) (_ []waiting, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	s := l.state
	s.Sent = slices.DeleteFunc(s.Sent, func(t time.Time) bool { return now.Before(t) || now.Sub(t) >= time.Hour })
	l.flying = 0
	switch left := perHour - len(s.Sent); {
	case len(s.Queue) == 0:
		return nil, 0
	case left <= 0:
		return nil, s.Sent[0].Add(time.Hour).Sub(now)
	case left == 1:
		l.flying = min(len(s.Queue), perDigest)
	default:
		l.flying = 1
	}
	return slices.Clone(s.Queue[:l.flying]), 0
}

// sleep waits for a call, or at most so long unless that is zero.
func (l *line) sleep(ctx context.Context, wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-over:
	}
}

// deliver sends one message, and tries again for as long as that may help.
func (n *Notifier) deliver(ctx context.Context, l *line, batch []waiting) error {
	e := digest(events(batch))
	since := batch[len(batch)-1].Since
	if since.Before(n.started) { // before a restart, nobody tried
		since = n.started
	}
	left := max(since.Add(n.pace.patience).Sub(n.now()), time.Nanosecond) // zero would be for ever
	_, err := backoff.Retry(ctx, func() (string, error) {
		return attempt(ctx, l.channel, e, n.pace.limit)
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: n.pace.first, RandomizationFactor: backoff.DefaultRandomizationFactor, Multiplier: 2, MaxInterval: n.pace.longest,
	}), backoff.WithMaxElapsedTime(left), backoff.WithNotify(func(err error, _ time.Duration) {
		n.fail(Failure{l.channel.Name(), events(batch), err, false})
	}))
	return err
}

func events(batch []waiting) []Event {
	var out []Event
	for _, w := range batch {
		out = append(out, w.Event)
	}
	return out
}

// settle takes a message from the queue that was sent, or given up.
func (n *Notifier) settle(l *line, batch []waiting, err error) {
	n.mu.Lock()
	now := n.now()
	l.state.Queue = slices.Delete(l.state.Queue, 0, len(batch))
	l.flying = 0
	l.state.Sent = append(l.state.Sent, now)
	if err != nil {
		for _, w := range batch {
			l.state.lost(w.Event, now)
		}
	}
	unsaved := n.save()
	n.mu.Unlock()
	if err != nil {
		n.fail(Failure{l.channel.Name(), events(batch), err, true})
	}
	if unsaved != nil { // after a restart it would be sent again
		n.fail(Failure{l.channel.Name(), nil, unsaved, true})
	}
}
