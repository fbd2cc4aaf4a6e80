// Package faulty wraps a target and breaks it on purpose, so that tests can see what their code does about a store
// that fails, lies, damages data, hangs or vanishes. Faults are queued for single calls, drawn at random from a seed,
// or put an end to everything after a number of writes. Without faults it is its inner target.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"

	"lifeboat/target"
)

var (
	// ErrCrashed is the error of every call after the crash that CrashAfter set.
	ErrCrashed = errors.New("crashed on purpose")
	// ErrMisuse is the error of a call whose fault has no meaning for its method: the test is wrong.
	ErrMisuse = errors.New("fault does not apply to this method")
)

// Target passes calls to an inner target, except where a fault applies. It is safe for concurrent use.
type Target struct {
	inner target.Target

	mu      sync.Mutex
	queue   map[Method][]Fault
	chances []Chance
	rand    *rand.Rand
	log     []Op
	crashAt int // how many mutations are let through; negative: all
	mutated int
}

var _ target.Target = (*Target)(nil)

// New wraps inner. It behaves like inner until it is told otherwise.
func New(inner target.Target) *Target {
	return &Target{inner: inner, queue: make(map[Method][]Fault), crashAt: -1}
}

// Queue adds faults for the next calls of a method, one for each call, in this order. None lets a call through.
func (t *Target) Queue(m Method, faults ...Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue[m] = append(t.queue[m], faults...)
}

// Queued returns how many faults queued for a method have not been used, so that a test can see that all were.
func (t *Target) Queued(m Method) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue[m])
}

// CrashAfter lets n more mutating calls (Put and Delete, whatever becomes of them) begin; thereafter every call of any
// method fails with ErrCrashed. A negative n calls it off. To crash at every write of a sequence, run the sequence
// once, ask Mutations, and run it again for each n below that.
func (t *Target) CrashAfter(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < 0 {
		t.crashAt = -1
	} else {
		t.crashAt = t.mutated + n
	}
}

// Put implements target.Target.
func (t *Target) Put(ctx context.Context, name string, body *io.SectionReader) error {
	f, err := t.begin(Put, name)
	if err != nil {
		return err
	}
	if f.put == nil {
		return misuse(f, Put)
	}
	return f.put(ctx, t.inner, name, body)
}

// Get implements target.Target.
func (t *Target) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	f, err := t.begin(Get, name)
	if err != nil {
		return nil, err
	}
	if f.get == nil {
		return nil, misuse(f, Get)
	}
	return f.get(ctx, t.inner, name, off, n)
}

// List implements target.Target. The call counts, and takes its fault, when the sequence is ranged over.
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[target.Info, error] {
	return func(yield func(target.Info, error) bool) {
		f, err := t.begin(List, prefix)
		if err == nil && f.list == nil {
			err = misuse(f, List)
		}
		if err != nil {
			yield(target.Info{}, err)
			return
		}
		f.list(ctx, t.inner, prefix)(yield)
	}
}

// Delete implements target.Target.
func (t *Target) Delete(ctx context.Context, name string) error {
	f, err := t.begin(Delete, name)
	if err != nil {
		return err
	}
	if f.remove == nil {
		return misuse(f, Delete)
	}
	return f.remove(ctx, t.inner, name)
}

// begin logs a call and chooses its fault: the crash first, then the queue, then chance.
func (t *Target) begin(m Method, name string) (Fault, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crashAt >= 0 && t.mutated >= t.crashAt {
		t.log = append(t.log, Op{m, name, "crashed"})
		return Fault{}, fmt.Errorf("%s %q: %w", m, name, ErrCrashed)
	}
	f := None()
	if q := t.queue[m]; len(q) > 0 {
		f, t.queue[m] = q[0], q[1:]
	} else {
		f = t.draw(m)
	}
	if m.Mutates() {
		t.mutated++
	}
	t.log = append(t.log, Op{m, name, f.name})
	return f, nil
}

func misuse(f Fault, m Method) error {
	return fmt.Errorf("%s for %s: %w", f.name, m, ErrMisuse)
}
