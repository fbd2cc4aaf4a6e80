package notify

import (
	"context"
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lifeboat/config"
)

// hands is a clock that a test moves.
type hands struct {
	mu sync.Mutex
	at time.Time
}

func (h *hands) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

func (h *hands) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = h.at.Add(d)
}

// rig is a Notifier with all that it needs, and what it reported.
type rig struct {
	*Notifier
	t        *testing.T
	clock    *hands
	failures chan Failure
	end      func() error // ends Run
}

// rigUp makes a Notifier that is impatient, over a state file.
func rigUp(t *testing.T, file string, clock *hands, urls ...string) *rig {
	t.Helper()
	var cfg []config.Notify
	for _, u := range urls {
		cfg = append(cfg, config.Notify{Kind: "webhook", URL: config.Secret(u + "/" + token)})
	}
	channels, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(channels, file, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Notifier: n, t: t, clock: clock, failures: make(chan Failure, 10_000)}
	n.pace = pace{limit: time.Minute, first: time.Millisecond, longest: 10 * time.Millisecond, patience: time.Hour}
	n.Failed = func(f Failure) { r.failures <- f }
	return r
}

func newHands() *hands { return &hands{at: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)} }

func (r *rig) run() *rig {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.end = sync.OnceValue(func() error {
		cancel()
		return next(r.t, done)
	})
	r.t.Cleanup(func() { _ = r.end() }) // a test that cares ended it before
	return r
}

func (r *rig) tell(e Event) {
	r.t.Helper()
	if err := r.Tell(e); err != nil {
		r.t.Error(err)
	}
}

// idle waits until nothing waits to be sent, nor to be noted as sent.
func (r *rig) idle() {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		waits := 0
		r.mu.Lock()
		for _, l := range r.lines {
			waits += len(l.state.Queue)
		}
		r.mu.Unlock()
		if waits == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d events wait", waits)
		}
	}
}

// event is what a webhook got next.
func event(t *testing.T, s *web) Event {
	t.Helper()
	var p payload
	if err := json.Unmarshal([]byte(next(t, s.got).body), &p); err != nil {
		t.Fatal(err)
	}
	return p.Event
}

// wants is what must come next, and nothing before it: a word of the state and the title.
func (r *rig) wants(s *web, want string) {
	r.t.Helper()
	if e := event(r.t, s); e.state()+": "+e.Title != want {
		r.t.Errorf("got %s: %s, want %s", e.state(), e.Title, want)
	}
}

func stateIn(t *testing.T) string { return filepath.Join(t.TempDir(), "notify.json") }
