package calendar

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

func location(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestCronOverChangesOfTheClock(t *testing.T) {
	for _, tt := range []struct {
		cron, zone, from string
		want             []string
	}{
		{"15 * * * *", "UTC", "2026-11-22T10:15:00Z", []string{"2026-11-22T11:15:00Z", "2026-11-22T12:15:00Z"}},
		{"0 2 * * 0", "Asia/Shanghai", "2026-11-22T10:15:00Z", []string{"2026-11-28T18:00:00Z", "2026-12-05T18:00:00Z"}},
		// Berlin, 29 March 2026: 02:00 becomes 03:00; 25 October 2026: 03:00 becomes 02:00.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", []string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"0,20,40 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		{"30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"}},
		{"0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		{"15 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T00:15:00Z", "2026-03-29T01:15:00Z", "2026-03-29T02:15:00Z"}},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}}, // in the second 02:10
		{"0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"}},
		{"15 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"}},
		// Lord Howe changes by half an hour; Cairo at midnight; Samoa left out a whole day.
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		{"0 0 * * *", "Africa/Cairo", "2026-04-23T00:00:00Z", []string{"2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"}},
		{"0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", []string{"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"}},
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", []string{"2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z"}}, // either day
		{"@weekly", "UTC", "2026-11-22T00:00:00Z", []string{"2026-11-29T00:00:00Z"}},
	} {
		c, err := ParseCron(tt.cron)
		if err != nil {
			t.Fatal(err)
		}
		c = c.In(location(t, tt.zone))
		at, err := time.Parse(time.RFC3339, tt.from)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if at = c.Next(at); at.UTC().Format(time.RFC3339) != want {
				t.Errorf("%s in %s from %s on: %s; want %s", tt.cron, tt.zone, tt.from, at.UTC().Format(time.RFC3339), want)
				break
			}
		}
	}
}

// TestCronByTheMinute compares with looking at every minute of the clock on the wall.
func TestCronByTheMinute(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"} {
		zone := location(t, name)
		for _, s := range []string{"*/17 * * * *", "0 */2 * * *", "30 1,2,3 * * *", "59 23 * * 6", "0 2 1,25-31 * *", "10 0 * * 0"} {
			c, err := ParseCron(s)
			if err != nil {
				t.Fatal(err)
			}
			c = c.In(zone)
			begin := time.Date(2026, time.Month(3+7*r.IntN(2)), 1, 0, 0, 0, 0, zone)
			want := slowly(c, begin, 45*24*60)
			at := begin.Add(-time.Second)
			for i, w := range want {
				if at = c.Next(at); !at.Equal(w) {
					t.Fatalf("%s in %s, time %d: %s; want %s", s, name, i, at, w)
				}
				if got := c.Last(w.Add(time.Duration(r.IntN(50)) * time.Second)); !got.Equal(w) {
					t.Fatalf("%s in %s, last of %s: %s", s, name, w, got)
				}
			}
		}
	}
}

// slowly goes minute by minute, and remembers what the wall clock has shown.
func slowly(c *Cron, begin time.Time, minutes int) (at []time.Time) {
	matches := func(wall time.Time) bool { return c.spec.Next(wall.Add(-time.Second)).Equal(wall) }
	shown := map[time.Time]bool{}
	last := wallClock(begin).Add(-time.Minute)
	for i := range minutes {
		now := begin.Add(time.Duration(i) * time.Minute)
		wall := wallClock(now.In(c.zone))
		due := matches(wall) && (!c.hours || !shown[wall])
		for skipped := last.Add(time.Minute); c.hours && skipped.Before(wall); skipped = skipped.Add(time.Minute) {
			due = due || matches(skipped) && !shown[skipped]
			shown[skipped] = true
		}
		if due {
			at = append(at, now)
		}
		shown[wall], last = true, wall
	}
	return at
}

// TestCronAsParsed compares the search for the next time with that of the parser's library, for schedules that are made up.
func TestCronAsParsed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	field := func(low, high int) string {
		at := func() int { return low + r.IntN(high-low+1) }
		switch r.IntN(4) {
		case 0:
			return "*"
		case 1:
			return fmt.Sprintf("*/%d", 2+r.IntN(high-low-2))
		case 2:
			first := at()
			return fmt.Sprintf("%d-%d,%d", first, first+r.IntN(high-first+1), at())
		}
		return strconv.Itoa(at())
	}
	compared := 0
	for range 400 {
		text := strings.Join([]string{field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)}, " ")
		c, err := ParseCron(text)
		if errors.Is(err, ErrNever) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(3*365*24*3600)) * time.Second)
		for range 20 {
			got, want := c.Next(at), c.spec.Next(at)
			if !got.Equal(want) {
				t.Fatalf("%s behind %s: %s, want %s", text, at, got, want)
			}
			if at = got; at.IsZero() {
				break
			}
			compared++
		}
	}
	if compared < 5000 {
		t.Errorf("%d times compared", compared)
	}
}

func TestCronRefuses(t *testing.T) {
	for _, s := range []string{"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 32 * *", "* * * 13 *", "* * * * 8", "x * * * *",
		"@every 5m", "@reboot", "TZ=UTC 0 0 * * *", "CRON_TZ=UTC 0 0 * * *", "*/0 * * * *", "0 0 L * *", "H * * * *", "1.5 * * * *", "-1 * * * *"} {
		if c, err := ParseCron(s); err == nil {
			t.Errorf("%q is taken, and comes next at %s", s, c.Next(time.Unix(0, 0)))
		}
	}
	for _, s := range []string{"0 0 30 2 *", "0 0 31 4,6,9,11 *"} {
		if _, err := ParseCron(s); !errors.Is(err, ErrNever) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
