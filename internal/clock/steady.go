package clock

import (
	"sync"
	"time"
)

// Steady tells a time that goes on by the monotonic clock from what another clock said at first: setting the time of day does not move it, so that
// differences are durations. It is safe for concurrent use.
type Steady struct {
	wall      Clock
	at, begin time.Time
	mu        sync.Mutex
	strayed   time.Duration
}

// NewSteady begins with what c says now.
func NewSteady(c Clock) *Steady { return &Steady{wall: c, at: c().Round(0), begin: System()} }

// Now implements Clock.
func (s *Steady) Now() time.Time {
	now := s.at.Add(System().Sub(s.begin))
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.wall().Round(0).Sub(now); d.Abs() > s.strayed.Abs() {
		s.strayed = d
	}
	return now
}

// Strayed is how far the other clock was away at most, at any Now: positive where it was ahead.
func (s *Steady) Strayed() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strayed
}
