package clock_test

import (
	"testing"
	"time"

	"lifeboat/internal/clock"
)

func TestSystemIsTheWallClock(t *testing.T) {
	var c clock.Clock = clock.System
	before := time.Now()
	got := c.Now()
	if after := time.Now(); got.Before(before) || got.After(after) {
		t.Errorf("System said %v between %v and %v", got, before, after)
	}
}

func TestFixedClock(t *testing.T) {
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	var c clock.Clock = func() time.Time { return at }
	if got := c.Now(); !got.Equal(at) {
		t.Errorf("Now() = %v, want %v", got, at)
	}
}
