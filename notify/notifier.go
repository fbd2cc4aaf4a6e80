package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lifeboat/internal/clock"
)

// Notifier tells events by channels, each in its own time: a channel that is slow or down delays no other and no caller. What is
// open and what is not sent yet stands in a file, so that a restart neither loses a message nor repeats one, but for the one
// that was on its way.
type Notifier struct {
	// Failed is told of every attempt that failed, by several goroutines at once. It is set before Run, or not at all.
	Failed func(Failure)

	file    string
	now     clock.Clock
	started time.Time
	pace    pace
	mu      sync.Mutex // guards what follows and the file
	lines   []*line
	unsaved bool // the file could not be written the last time
}

// Failure is an attempt to send that failed.
type Failure struct {
	Channel string
	Events  []Event // several in a digest; none where it was sent, and that could not be noted
	Err     error
	Final   bool // it is not tried again
}

// pace is how patient a Notifier is with a channel.
type pace struct {
	limit    time.Duration // of an attempt
	first    time.Duration // between the first attempts; twice as long each time
	longest  time.Duration // between later ones
	patience time.Duration // until a message is given up
}

// New makes a Notifier that has its state in a file, which need not be there. Names of channels must differ. State of a channel that
// is not there any more is dropped; a new one is told of what is open when that is told again.
func New(channels []Channel, stateFile string, now clock.Clock) (*Notifier, error) {
	n := &Notifier{file: stateFile, now: now, started: now(), pace: pace{sendLimit, 5 * time.Second, 5 * time.Minute, 6 * time.Hour}}
	states, err := load(stateFile)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, c := range channels {
		if seen[c.Name()] {
			return nil, fmt.Errorf("two channels are called %s", c.Name())
		}
		seen[c.Name()] = true
		n.lines = append(n.lines, newLine(c, states[c.Name()]))
	}
	return n, nil
}

// Tell hands an event to every channel that has not told it yet, and returns once that is durable; it does not wait for channels.
// An error is of the state file alone: the event is told nevertheless, unless the process ends before.
func (n *Notifier) Tell(e Event) error {
	now := n.now()
	e = e.tidy(now)
	var failures []Failure
	n.mu.Lock()
	changed := false
	for _, l := range n.lines {
		tell, noted := l.state.admit(e, now)
		changed = changed || noted
		if tell == nil {
			continue
		}
		if dropped, full := l.push(*tell, now); full {
			failures = append(failures, Failure{l.channel.Name(), []Event{dropped}, errFull, true})
		}
	}
	var err error
	if changed {
		err = n.save()
	}
	n.mu.Unlock()
	for _, l := range n.lines {
		l.call()
	}
	for _, f := range failures {
		n.fail(f)
	}
	return err
}

var errFull = errors.New("too many events wait for this channel: the oldest one was dropped")

// Run sends what is told until ctx ends; call it once. What is not sent by then stands in the file; an error says that it does not.
func (n *Notifier) Run(ctx context.Context) error {
	var lines sync.WaitGroup
	for _, l := range n.lines {
		lines.Go(func() { n.serve(ctx, l) })
	}
	lines.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unsaved {
		return n.save()
	}
	return nil
}

func (n *Notifier) fail(f Failure) {
	if n.Failed != nil {
		n.Failed(f)
	}
}

// save writes the states of all lines. The caller holds the lock.
func (n *Notifier) save() error {
	states := map[string]*lineState{}
	for _, l := range n.lines {
		states[l.channel.Name()] = l.state
	}
	err := store(n.file, states)
	n.unsaved = err != nil
	return err
}
