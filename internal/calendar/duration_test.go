package calendar_test

import (
	"testing"
	"time"

	"lifeboat/internal/calendar"
)

func TestDuration(t *testing.T) {
	at := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		text   string
		before string // of at
		length time.Duration
	}{
		{"90s", "2026-03-31T11:58:30Z", 90 * time.Second},
		{"1m", "2026-03-31T11:59:00Z", time.Minute},
		{"4h", "2026-03-31T08:00:00Z", 4 * time.Hour},
		{"30d", "2026-03-01T12:00:00Z", 720 * time.Hour},
		{"26w", "2025-09-30T12:00:00Z", 26 * 168 * time.Hour},
		{"1mo", "2026-02-28T23:59:59Z", 720 * time.Hour},
		{"25mo", "2024-02-29T23:59:59Z", 25 * 720 * time.Hour},
		{"24mo", "2024-03-31T12:00:00Z", 24 * 720 * time.Hour},
		{"7y", "2019-03-31T12:00:00Z", 7 * 8760 * time.Hour},
		{"100y", "1926-03-31T12:00:00Z", 100 * 8760 * time.Hour},
	}
	for _, tt := range tests {
		d, err := calendar.ParseDuration(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		if d.String() != tt.text || d.IsZero() {
			t.Errorf("%s reads back as %s", tt.text, d)
		}
		if got := d.Before(at).Format(time.RFC3339); got != tt.before {
			t.Errorf("%s before %s is %s, want %s", tt.text, at, got, tt.before)
		}
		if d.Length() != tt.length {
			t.Errorf("%s is %v long, want %v", tt.text, d.Length(), tt.length)
		}
	}
	if zero := (calendar.Duration{}); !zero.IsZero() || zero.String() != "" || !zero.Before(at).Equal(at) {
		t.Error("the zero Duration is not nothing")
	}
}

// TestDurationNeverGoesBack goes hour by hour: what begins later than another time has no earlier time before it, or a window would open again for what
// was dropped when it had closed.
func TestDurationNeverGoesBack(t *testing.T) {
	for _, text := range []string{"1mo", "6mo", "13mo", "1y", "4y", "30d", "1w", "36h"} {
		d, err := calendar.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		for last := d.Before(at); at.Year() < 2029; last = d.Before(at) {
			if at = at.Add(time.Hour); d.Before(at).Before(last) {
				t.Fatalf("%s before %s is %s, and %s an hour earlier", text, at, d.Before(at), last)
			}
		}
	}
}

func TestDurationRefuses(t *testing.T) {
	for _, s := range []string{"", "5", "m", "0d", "05d", "-1d", "+1d", "1.5h", "1h30m", " 1d", "1 d", "1D", "1M", "101y", "1300mo", "99999999999s", "1ms"} {
		if d, err := calendar.ParseDuration(s); err == nil {
			t.Errorf("%q is taken for %v", s, d)
		}
	}
}
