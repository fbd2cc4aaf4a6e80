package bandwidth

import (
	"errors"
	"testing"
	"time"

	"lifeboat/internal/calendar"
)

// window is a Window as people write it.
func window(t *testing.T, from, to string, rate Rate, days ...string) Window {
	t.Helper()
	w := Window{calendar.Always, rate}
	var err error
	if len(days) > 0 {
		if w.Days, err = calendar.ParseDays(days...); err != nil {
			t.Fatal(err)
		}
	}
	if w.From, err = calendar.ParseTime(from); err != nil {
		t.Fatal(err)
	}
	if w.To, err = calendar.ParseTime(to); err != nil {
		t.Fatal(err)
	}
	return w
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestAt(t *testing.T) {
	office := Schedule{Zone: zone(t, "Europe/Berlin"), Windows: []Window{
		window(t, "08:00", "20:00", 5, "mon-fri"),
		window(t, "20:00", "08:00", 40, "mon-thu"),
		window(t, "22:30", "02:00", 7, "sat"),
	}}
	nights := Schedule{Zone: zone(t, "Asia/Shanghai"), Windows: []Window{window(t, "23:00", "05:00", 9)}}
	for _, tt := range []struct {
		s    Schedule
		at   string
		want Rate
	}{
		{office, "2026-11-16T07:59:59+01:00", 0}, // a Monday: the night before it belongs to Sunday
		{office, "2026-11-16T08:00:00+01:00", 5},
		{office, "2026-11-16T19:59:59+01:00", 5},
		{office, "2026-11-16T20:00:00+01:00", 40},
		{office, "2026-11-17T07:59:59+01:00", 40},
		{office, "2026-11-20T12:00:00+01:00", 5},
		{office, "2026-11-20T20:00:00+01:00", 0}, // Friday's night has no window
		{office, "2026-11-21T22:30:00+01:00", 7},
		{office, "2026-11-22T01:59:59+01:00", 7}, // from Saturday into Sunday, and from one week into the next
		{office, "2026-11-22T02:00:00+01:00", 0},
		{office, "2026-11-16T18:30:00Z", 5},  // 19:30 there
		{office, "2026-07-13T18:30:00Z", 40}, // 20:30 there, in summer
		{office, "2026-11-16T00:30:00+09:00", 0},
		{nights, "2026-11-16T15:00:00Z", 9},
		{nights, "2026-11-16T20:59:59Z", 9},
		{nights, "2026-11-16T21:00:00Z", 0},
		{nights, "2026-11-21T15:30:00Z", 9}, // Saturday into Sunday
		{nights, "2026-11-21T17:30:00Z", 9},
		{Always(3), "2026-11-16T00:00:00Z", 3},
		{Always(3), "2026-11-21T23:59:59Z", 3},
		{Schedule{}, "2026-11-21T23:59:59Z", 0},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.s.At(at); got != tt.want {
			t.Errorf("at %s: %d; want %d", tt.at, got, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]Rate{
		"5MB/s": 5_000_000, "1.5MiB/s": 3 << 19, "800 kB/s": 800_000, "10kB/s": 10_000, "10000B/s": 10_000, "2GB/s": 2_000_000_000,
		"5": 0, "5MB": 0, "20Mb/s": 0, "20Mbit/s": 0, "-5MB/s": 0, "MB/s": 0, "5M/s": 0, "": 0, "99999999999EB/s": 0,
	} {
		if got, err := ParseRate(s); got != want || (err == nil) != (want > 0) || errors.Is(err, ErrSlow) {
			t.Errorf("rate %q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"0B/s", "0MB/s", "9999B/s"} {
		if _, err := ParseRate(s); !errors.Is(err, ErrSlow) {
			t.Errorf("rate %q: %v", s, err)
		}
	}
}
