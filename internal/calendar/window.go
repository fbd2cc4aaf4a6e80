package calendar

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Window opens on some days of every week. From and To are minutes after midnight; unless To is later than From, it is that
// of the next day.
type Window struct {
	Days     Days
	From, To int
}

// Days are those of the week, by time.Weekday.
type Days [7]bool

// Of a wall clock, in minutes.
const (
	day  = 24 * 60
	week = 7 * day
)

// EveryDay is the whole week, and Always a Window that never closes.
var (
	EveryDay = Days{true, true, true, true, true, true, true}
	Always   = Window{Days: EveryDay, To: day}
)

// Open reports whether w is open at t, by the wall clock of t's location.
func (w Window) Open(t time.Time) bool {
	return w.open(int(t.Weekday())*day + t.Hour()*60 + t.Minute())
}

// open reports whether a minute of the week is in w.
func (w Window) open(minute int) bool {
	length := w.To - w.From
	if length <= 0 {
		length += day
	}
	return slices.ContainsFunc(w.opens(), func(at int) bool { return (minute-at+week)%week < length })
}

// opens are the minutes of the week at which w opens.
func (w Window) opens() (at []int) {
	for d, on := range w.Days {
		if on {
			at = append(at, d*day+w.From)
		}
	}
	return at
}

// Overlap is when two windows are open together, such as "mon 08:00", where one of them opens; empty if they never are.
func (w Window) Overlap(other Window) string {
	for _, minute := range append(w.opens(), other.opens()...) {
		if w.open(minute) && other.open(minute) {
			return fmt.Sprintf("%s %02d:%02d", names[minute/day], minute%day/60, minute%60)
		}
	}
	return ""
}

// Covers reports whether one of the windows is always open.
func Covers(windows []Window) bool {
	for minute := range week {
		if !slices.ContainsFunc(windows, func(w Window) bool { return w.open(minute) }) {
			return false
		}
	}
	return true
}

var names = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseDays reads days and ranges of them: "mon", "mon-fri", "sat-sun".
func ParseDays(words ...string) (days Days, err error) {
	for _, word := range words {
		first, last, ranged := strings.Cut(word, "-")
		if !ranged {
			last = first
		}
		from, to := slices.Index(names, first), slices.Index(names, last)
		if from < 0 || to < 0 {
			return Days{}, fmt.Errorf("%q is neither a day nor a range of days", word)
		}
		for d := from; ; d = (d + 1) % 7 {
			days[d] = true
			if d == to {
				break
			}
		}
	}
	return days, nil
}

// ParseTime reads a time of day from 00:00 to 24:00, as minutes after midnight.
func ParseTime(s string) (int, error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, fmt.Errorf("%q is not a time of day", s)
	}
	return t.Hour()*60 + t.Minute(), nil
}
