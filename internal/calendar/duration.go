// Package calendar counts time as people do: durations of days, months and years, and windows of the week.
package calendar

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a whole number of one unit, as people say it: 90s, 15m, 4h, 30d, 26w, 24mo, 7y. From days up it is
// counted on the calendar, so it has no fixed length. The zero Duration is "not said".
type Duration struct {
	N    int
	Unit string // one of s m h d w mo y
}

// fullDay is what a calendar day comes to, give or take a change to summer time.
const fullDay = 24 * time.Hour

// units, with the length that each comes to where a fixed one is needed. Longer names that end in another come first.
var units = []struct {
	name   string
	length time.Duration
}{
	{"mo", 30 * fullDay}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", fullDay}, {"w", 7 * fullDay}, {"y", 365 * fullDay},
}

// longest keeps arithmetic on a Duration far from overflow.
const longest = 100 * 365 * fullDay

// ParseDuration is the inverse of String; it wants a positive number and a unit, and refuses more than 100 years.
func ParseDuration(s string) (Duration, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n == 0 || digits[0] == '0' || digits[0] == '+' {
			break
		}
		if int64(n) > int64(longest/u.length) {
			return Duration{}, fmt.Errorf("duration %q is more than 100 years", s)
		}
		return Duration{N: int(n), Unit: u.name}, nil
	}
	return Duration{}, fmt.Errorf("duration %q is not a number and a unit of s, m, h, d, w, mo or y", s)
}

// IsZero reports whether d was not said.
func (d Duration) IsZero() bool { return d == Duration{} }

// String is the form that ParseDuration reads; empty for the zero Duration.
func (d Duration) String() string {
	if d.IsZero() {
		return ""
	}
	return strconv.Itoa(d.N) + d.Unit
}

// Before is the time d earlier than t, by the calendar of t's location for days and more. Where a month has no such day it is the month's last moment:
// a month before 31 March is the end of February. So what is before a later time is never earlier, and no window opens again for what was dropped when
// it had closed.
func (d Duration) Before(t time.Time) time.Time {
	switch d.Unit {
	case "d":
		return t.AddDate(0, 0, -d.N)
	case "w":
		return t.AddDate(0, 0, -7*d.N)
	case "mo":
		return monthsBefore(t, d.N)
	case "y":
		return monthsBefore(t, 12*d.N)
	default:
		return t.Add(-d.Length())
	}
}

// monthsBefore is the same day and time n months before t, or the end of that month.
func monthsBefore(t time.Time, n int) time.Time {
	out := t.AddDate(0, -n, 0)
	if out.Day() != t.Day() { // time.AddDate goes on into the next month
		return time.Date(out.Year(), out.Month(), 1, 0, 0, 0, 0, t.Location()).Add(-time.Nanosecond)
	}
	return out
}

// Length is d with days of 24 hours, months of 30 days and years of 365: exact up to hours, for comparing beyond.
func (d Duration) Length() time.Duration {
	for _, u := range units {
		if u.name == d.Unit {
			return time.Duration(d.N) * u.length
		}
	}
	return 0
}
