package calendar

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// Cron is a schedule of five fields (minute, hour, day of the month, month, day of the week), or one of @hourly, @daily,
// @weekly, @monthly and @yearly. Where both days are restricted either is enough, as in crontab(5).
//
// Where clocks are changed, a schedule that names hours runs once: what falls into the hour that is left out, when the
// clocks go forward, and what falls into the hour that comes twice, the first time. A schedule for every hour runs every hour.
type Cron struct {
	text  string
	spec  *cron.SpecSchedule // of a wall clock, in UTC
	zone  *time.Location
	hours bool // it names hours
}

// ErrNever is wrapped where a schedule never comes, such as on 30 February.
var ErrNever = errors.New("it never comes")

// star marks a field that is not restricted.
const star = 1 << 63

// searchYears is how far ahead a time is looked for: 29 February can be eight years away.
const searchYears = 9

var parser = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom).WithMaxSearchYears(searchYears)

// ParseCron reads a schedule by the wall clock of UTC.
func ParseCron(s string) (*Cron, error) {
	if strings.Contains(s, "=") || strings.HasPrefix(s, "@every") {
		return nil, fmt.Errorf("schedule %q is not five fields or a word like @daily", s)
	}
	parsed, err := parser.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", s, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("schedule %q is not five fields or a word like @daily", s)
	}
	spec.Location = time.UTC
	const everyHour = 1<<24 - 1
	c := &Cron{text: s, spec: spec, zone: time.UTC, hours: spec.Hour&everyHour != everyHour}
	if c.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("schedule %q: %w", s, ErrNever)
	}
	return c, nil
}

// In is the schedule by the wall clock of a zone.
func (c *Cron) In(zone *time.Location) *Cron {
	out := *c
	out.zone = zone
	return &out
}

// String is the text that was parsed.
func (c *Cron) String() string { return c.text }

// EitherDay reports whether both days are restricted, so that either is enough.
func (c *Cron) EitherDay() bool {
	return (c.spec.Dom|c.spec.Dow)&star == 0 && !strings.HasPrefix(c.text, "@")
}

// Next is the first time of the schedule behind a time; zero if there is none for years.
func (c *Cron) Next(after time.Time) time.Time {
	t := after.In(c.zone)
	wall := wallClock(t)
	for range 4 * searchYears { // the clocks change twice a year at most
		begin, end := t.ZoneBounds()
		_, offset := t.Zone()
		if c.hours && t.Sub(begin) < 2*fullDay {
			if seen := before(begin, c.zone); wall.Before(seen) {
				wall = seen // the clocks went back: these hours were here before
			}
		}
		next := c.onWall(wall)
		if next.IsZero() {
			return time.Time{}
		}
		at := next.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || at.Before(end) {
			return at.In(c.zone)
		}
		if next.Before(wallClock(end)) && c.hours {
			return end // the clocks go forward, over it
		}
		t, wall = end, wallClock(end).Add(-time.Second)
	}
	return time.Time{}
}

// onWall is the first time of the schedule behind a time, both by one wall clock; zero if there is none for years. It goes day by day,
// where the parser's own search goes second by second.
func (c *Cron) onWall(after time.Time) time.Time {
	from := after.Truncate(time.Minute).Add(time.Minute)
	begin := from.Truncate(fullDay)
	minute, ok := c.onDay(int(from.Sub(begin) / time.Minute))
	for i := range searchYears * 366 {
		if date := begin.AddDate(0, 0, i); ok && c.days(date) {
			return date.Add(time.Duration(minute) * time.Minute)
		}
		minute, ok = c.onDay(0)
	}
	return time.Time{}
}

// onDay is the first minute of a day of the schedule, from a minute on.
func (c *Cron) onDay(from int) (minute int, ok bool) {
	hour := from / 60
	if rest := c.spec.Minute >> (from % 60) & (1<<(60-from%60) - 1); c.spec.Hour>>hour&1 == 1 && rest != 0 {
		return from + bits.TrailingZeros64(rest), true
	}
	later := c.spec.Hour & (1<<24 - 1) >> (hour + 1)
	return (hour+1+bits.TrailingZeros64(later))*60 + bits.TrailingZeros64(c.spec.Minute), later != 0
}

// days reports whether a day is one of the schedule's.
func (c *Cron) days(date time.Time) bool {
	_, month, day := date.Date()
	ofMonth, ofWeek := c.spec.Dom>>day&1 == 1, c.spec.Dow>>date.Weekday()&1 == 1
	if c.spec.Month>>month&1 == 0 {
		return false
	}
	if (c.spec.Dom|c.spec.Dow)&star == 0 {
		return ofMonth || ofWeek
	}
	return ofMonth && ofWeek
}

// Last is the newest time of the schedule that is not behind now; zero if there was none for years.
func (c *Cron) Last(now time.Time) (last time.Time) {
	for back := time.Hour; back < searchYears*365*fullDay; back *= 2 {
		for t := c.Next(now.Add(-back)); !t.IsZero() && !t.After(now); t = c.Next(t) {
			last = t
		}
		if !last.IsZero() {
			return last
		}
	}
	return time.Time{}
}

// wallClock is what the clock on the wall shows at t, to the second, as if it were UTC.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second).Truncate(time.Second)
}

// before is what the clock on the wall had shown one second before the clocks were changed at a time.
func before(change time.Time, zone *time.Location) time.Time {
	return wallClock(change.Add(-time.Second).In(zone))
}
