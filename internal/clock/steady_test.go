package clock_test

import (
	"testing"
	"time"

	"lifeboat/internal/clock"
)

// TestSteady sets a clock back and forth: the steady one goes on, and tells how far.
func TestSteady(t *testing.T) {
	var set time.Duration
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	began := clock.System()
	s := clock.NewSteady(func() time.Time { return at.Add(clock.System().Sub(began) + set) })
	last := s.Now()
	for _, set = range []time.Duration{3 * time.Hour, -5 * time.Hour, 0} {
		now := s.Now()
		if d := now.Sub(last); d < 0 || d > time.Hour {
			t.Errorf("%s passed as the clock was set by %s", d, set)
		}
		last = now
	}
	if d := s.Strayed() + 5*time.Hour; d.Abs() > time.Hour {
		t.Errorf("it strayed by %s", s.Strayed())
	}
}
