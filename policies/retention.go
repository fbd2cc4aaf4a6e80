package policies

import (
	"fmt"
	"slices"
	"time"

	"lifeboat/internal/calendar"
)

// Retention says which snapshots are kept. Each zero duration is a rule that is not there; Daily and the like keep the first snapshot of
// each day, so that a later one can never be the reason why an earlier one goes.
type Retention struct {
	PITR    calendar.Duration // every snapshot, and one before them, from which log leads to the window's beginning
	Daily   calendar.Duration
	Weekly  calendar.Duration // weeks of ISO 8601
	Monthly calendar.Duration
	Yearly  calendar.Duration
	Minimum calendar.Duration // every snapshot
	Zone    *time.Location
	// BelowFloor is why less than the Floor is enough; empty where it holds.
	BelowFloor string
}

// Floor is how long a point a day is kept at least, whatever a policy says, unless it says why not.
var Floor = calendar.Duration{N: 90, Unit: "d"}

// Point is one snapshot of a source.
type Point struct {
	Seq uint64
	// At is when the repository observed it at the latest: not what somebody's clock said. By it goes how old the point is.
	At time.Time
	// Clock is what the host's clock said then, where that was behind. By it go days, so that each day of a wrong clock has its first, too.
	Clock   time.Time
	Holds   []string // why people hold it
	Newest  []string // the copies of which it is the newest complete snapshot
	Damaged bool     // it cannot be restored from any copy
}

// Decision says whether a snapshot is kept, and why. A kept one has at least one reason; one that is dropped has one.
type Decision struct {
	Seq     uint64
	Keep    bool
	Reasons []string
}

// usualReasons is how many reasons most snapshots have at most.
const usualReasons = 3

// Decide judges the snapshots of one source, which are in ascending order. now is the newest time that the repository observed. The newest
// snapshot that can be restored is always kept.
func (r Retention) Decide(now time.Time, points []Point) []Decision {
	out := make([]Decision, len(points))
	room := make([]string, usualReasons*len(points)) // at once, what most of them need
	keep := func(i int, why string) { out[i].Keep, out[i].Reasons = true, append(out[i].Reasons, why) }
	within, young := fmt.Sprintf("pitr: within %s", r.PITR), fmt.Sprintf("minimum: younger than %s", r.Minimum)
	youth := r.Minimum.Before(now)
	base := -1 // the newest sound point before the window of PITR
	begin := r.PITR.Before(now)
	newest := -1
	for i, p := range points {
		out[i].Seq, out[i].Reasons = p.Seq, room[usualReasons*i:usualReasons*i:usualReasons*(i+1)]
		for _, why := range p.Holds {
			keep(i, "held: "+why)
		}
		for _, name := range p.Newest {
			keep(i, "the newest complete one on "+name)
		}
		if !r.Minimum.IsZero() && p.At.After(youth) {
			keep(i, young)
		}
		if p.At.After(begin) && !r.PITR.IsZero() {
			keep(i, within)
		}
		if p.Damaged {
			continue
		}
		newest = i
		if !p.At.After(begin) {
			base = i
		}
	}
	if base >= 0 && !r.PITR.IsZero() {
		keep(base, fmt.Sprintf("pitr: the log from here leads to every point of the last %s", r.PITR))
	}
	dates := r.tiers(now, points, keep)
	if newest >= 0 {
		keep(newest, "the newest one")
	} else if len(points) > 0 {
		keep(len(points)-1, "the newest one, though it is damaged")
	}
	kept := -1 // the newest one so far
	for i := range points {
		switch {
		case out[i].Keep:
			kept = i
		case kept >= 0 && dates[i].day == dates[kept].day:
			out[i].Reasons = []string{"an earlier one stands for its day, and no other rule keeps it"}
		default:
			out[i].Reasons = []string{"it is older than what any rule keeps"}
		}
	}
	return out
}

// tier keeps the first sound point of each period that begins after, or holds, the time length before now, and damaged ones before it:
// who can make snapshots look damaged must not get them dropped.
type tier struct {
	name, span string
	length     calendar.Duration
	period     func(date) int
	why        string
}

// date is a day in each of its counts, which go up with time; weeks begin on Mondays.
type date struct{ day, week, month, year int }

func dateOf(t time.Time, zone *time.Location) date {
	t = t.In(zone)
	_, offset := t.Zone()
	day := floor(t.Unix()+int64(offset), 24*60*60)
	year, month, _ := t.Date()
	return date{int(day), int(floor(day+3, 7)), year*100 + int(month), year} // the epoch began on a Thursday
}

// floor divides a by b, towards the past.
func floor(a, b int64) int64 {
	n := a / b
	if a%b < 0 {
		n--
	}
	return n
}

// tiers keeps what they say, and returns the date for which each point can stand.
func (r Retention) tiers(now time.Time, points []Point, keep func(int, string)) []date {
	daily := func(d date) int { return d.day }
	tiers := []tier{
		{name: "daily", span: "day", length: r.Daily, period: daily},
		{name: "weekly", span: "week", length: r.Weekly, period: func(d date) int { return d.week }},
		{name: "monthly", span: "month", length: r.Monthly, period: func(d date) int { return d.month }},
		{name: "yearly", span: "year", length: r.Yearly, period: func(d date) int { return d.year }},
	}
	if r.BelowFloor == "" && Floor.Before(now).Before(r.Daily.Before(now)) {
		tiers = append(tiers, tier{name: "floor", span: "day", length: Floor, period: daily})
	}
	tiers = slices.DeleteFunc(tiers, func(t tier) bool { return t.length.IsZero() })
	since, last := make([]int, len(tiers)), make([]int, len(tiers))
	for i := range tiers {
		t := &tiers[i]
		since[i] = t.period(dateOf(t.length.Before(now), r.Zone))
		t.why = fmt.Sprintf("%s: the first of its %s, within %s", t.name, t.span, t.length)
	}
	dates := make([]date, len(points))
	for i, p := range points {
		seen := dateOf(p.At, r.Zone)
		own := seen
		if !p.Clock.IsZero() {
			own = dateOf(p.Clock, r.Zone)
		}
		dates[i] = own
		for j, t := range tiers {
			if n := t.period(own); t.period(seen) >= since[j] && n != last[j] {
				if !p.Damaged {
					last[j] = n
				}
				keep(i, t.why)
			}
		}
	}
	return dates
}

// Zero reports whether no rule is there: then everything is kept.
func (r Retention) Zero() bool {
	return r.PITR.IsZero() && r.Daily.IsZero() && r.Weekly.IsZero() && r.Monthly.IsZero() && r.Yearly.IsZero() && r.Minimum.IsZero()
}
