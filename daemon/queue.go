package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"lifeboat/internal/clock"
)

// job is something to do, once.
type job struct {
	key      string // one job of a key is in the queue at a time
	what     string // for people
	claim    string // what it works with, and no other job meanwhile
	queued   time.Time
	began    time.Time
	progress func() (done, total int64) // bytes; may be nil
	do       func(ctx context.Context)
}

// A repository has one writer, so backups and all that changes it follow each other. What only reads goes on beside it, one at a time: each job keeps
// all cores busy, and however many checks are due, no backup waits for them. Drills come one at a time, too.
const (
	writer  = "writer"
	checker = "checker"
	driller = "driller"
)

// queue does jobs in the order in which they came, each as soon as what it works with is free.
type queue struct {
	now     clock.Clock
	changed chan struct{} // something ended
	poke    chan struct{}

	mu     sync.Mutex
	jobs   []*job // those that run first
	busy   map[string]bool
	closed bool
	gone   chan struct{} // closed once it is closed and nothing runs
}

func newQueue(now clock.Clock) *queue {
	return &queue{now: now, changed: make(chan struct{}, 1), poke: make(chan struct{}, 1), busy: map[string]bool{}, gone: make(chan struct{})}
}

// add takes in a job unless one of its key is there.
func (q *queue) add(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || slices.ContainsFunc(q.jobs, func(other *job) bool { return other.key == j.key }) {
		return false
	}
	j.queued = q.now()
	q.jobs = append(q.jobs, j)
	signal(q.poke)
	return true
}

// has reports whether a job of a key waits or runs.
func (q *queue) has(key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.jobs, func(j *job) bool { return j.key == key })
}

// run does jobs until ctx ends, and returns when none runs any more.
func (q *queue) run(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	for {
		for _, j := range q.free() {
			wait.Go(func() {
				j.do(ctx)
				q.end(j)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-q.poke:
		}
	}
}

// free takes the jobs that can begin.
func (q *queue) free() (out []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	for _, j := range q.jobs {
		if j.began.IsZero() && !q.busy[j.claim] {
			q.busy[j.claim] = true
			j.began = q.now()
			out = append(out, j)
		}
	}
	return out
}

func (q *queue) end(j *job) {
	q.mu.Lock()
	delete(q.busy, j.claim)
	q.jobs = slices.DeleteFunc(q.jobs, func(other *job) bool { return other == j })
	q.settle()
	q.mu.Unlock()
	signal(q.poke)
	signal(q.changed)
}

// close lets no more jobs begin.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.jobs = slices.DeleteFunc(q.jobs, func(j *job) bool { return j.began.IsZero() })
	q.settle()
}

func (q *queue) settle() {
	if q.closed && len(q.jobs) == 0 {
		select {
		case <-q.gone:
		default:
			close(q.gone)
		}
	}
}

// idle is closed once the queue is closed and nothing runs.
func (q *queue) idle() <-chan struct{} { return q.gone }

// running names what runs.
func (q *queue) running() (out []string) {
	for _, j := range q.list() {
		if !j.began.IsZero() {
			out = append(out, j.what)
		}
	}
	return out
}

// list is what runs and waits.
func (q *queue) list() []job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []job
	for _, j := range q.jobs {
		out = append(out, *j)
	}
	return out
}

// signal wakes who waits, or who will.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
