// Package bandwidth bounds how many bytes a second pass over the connections of a target, by the time of day. A Schedule
// says how many, a Limit holds connections to it. What is slowed, and what is not, others decide.
package bandwidth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // so that a zone has its name on hosts without a database of them, too

	"github.com/dustin/go-humanize"
)

// Rate is bytes a second, in each direction; zero is no limit.
type Rate uint64

// least is the slowest Rate that ParseRate takes: below it a handshake, and an answer that waits behind a packet, would take as
// long as the targets wait for a dead host.
const least = 10_000

// Schedule says which rate holds when: that of the window that is open, by the wall clock of Zone. Windows do not overlap, and
// outside of them there is no limit.
type Schedule struct {
	Windows []Window
	Zone    *time.Location // nil: the host's
}

// Window opens on some days of every week. From and To are minutes after midnight; unless To is later than From, it is that
// of the next day.
type Window struct {
	Days     Days
	From, To int
	Rate     Rate
}

// Days are those of the week, by time.Weekday.
type Days [7]bool

// Of a wall clock, in minutes.
const (
	day  = 24 * 60
	week = 7 * day
)

// EveryDay is the whole week.
var EveryDay = Days{true, true, true, true, true, true, true}

// Always is the Schedule of one rate.
func Always(r Rate) Schedule {
	return Schedule{Windows: []Window{{Days: EveryDay, To: day, Rate: r}}}
}

// At is the rate that holds at a time.
func (s Schedule) At(t time.Time) Rate {
	if s.Zone != nil {
		t = t.In(s.Zone)
	} else {
		t = t.Local()
	}
	minute := int(t.Weekday())*day + t.Hour()*60 + t.Minute()
	for _, w := range s.Windows {
		if w.open(minute) {
			return w.Rate
		}
	}
	return 0
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

// ErrSlow is of a rate with which nothing would ever be done.
var ErrSlow = errors.New("too slow")

// ParseRate reads bytes a second: "5MB/s", "1.5MiB/s". Bits are refused, not taken for bytes: 20Mb/s would be eight times too fast.
func ParseRate(s string) (Rate, error) {
	amount, ok := strings.CutSuffix(s, "/s")
	if !ok || !strings.HasSuffix(amount, "B") {
		return 0, fmt.Errorf("%q is not bytes a second", s)
	}
	n, err := humanize.ParseBytes(amount)
	if err != nil {
		return 0, fmt.Errorf("%q is not bytes a second", s)
	}
	if n < least {
		return 0, fmt.Errorf("%q is %w", s, ErrSlow)
	}
	return Rate(n), nil
}
