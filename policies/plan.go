package policies

import (
	"slices"
	"strings"
	"time"
)

// Forecast is what is known of a source before its future is played through.
type Forecast struct {
	Name      string // by which the jitter of its schedule goes
	Schedule  Schedule
	Retention Retention
	Logs      bool // the log is captured from now on
	Points    []Stored
	Done      []Done    // as Schedule.Due takes it
	LogSince  time.Time // from when on log leads to now without a gap; zero: none is captured yet
	Sizes     Sizes
}

// Stored is a snapshot that there is.
type Stored struct {
	Point
	Bytes int64 // that it added to a copy
}

// Sizes are what a source is expected to add to a copy, in bytes: its first full snapshot, each later snapshot of either kind, because
// what is there already is not stored again, and the log of a day.
type Sizes struct {
	Full, Increment, LogPerDay int64
}

// Rules are why a snapshot is kept, the first that fits counting: those of Decision.Reasons, and RuleAll where there is no retention.
var Rules = []string{RuleHeld, "minimum", "pitr", "daily", "weekly", "monthly", "yearly", "floor", RuleNewest, RuleAll}

// Rules that a policy does not write down.
const (
	RuleHeld   = "held"
	RuleNewest = "newest"
	RuleAll    = "all"
)

// Day is what becomes of a source in a day.
type Day struct {
	Begin, End    time.Time
	Full          []time.Time // when full snapshots are taken,
	Incremental   []time.Time // and increments
	Dropped       int         // by retention, at the end of the day
	Kept          map[string]int
	Total         int       // of Kept
	Earliest      time.Time // the oldest snapshot that is kept; zero for none
	EarliestPoint time.Time // from when on every second can be restored; zero where there is no log
	Bytes         int64     // on a copy
}

// Days plays the days to come through, the first of which is that of now. A run takes no time; runs that are due already are done at
// once. Retention is applied at the end of each day.
func (f Forecast) Days(now time.Time, zone *time.Location, days int) []Day {
	p := play{Forecast: f}
	for _, s := range f.Points {
		p.points, p.bytes = append(p.points, s.Point), append(p.bytes, s.Bytes)
	}
	for _, d := range f.Done {
		p.did(d, now)
	}
	local := now.In(zone)
	next := f.Schedule.clear(now)
	out := make([]Day, days)
	for i := range out {
		d := &out[i]
		d.Begin = time.Date(local.Year(), local.Month(), local.Day()+i, 0, 0, 0, 0, zone)
		d.End = time.Date(local.Year(), local.Month(), local.Day()+i+1, 0, 0, 0, 0, zone)
		for ; !next.IsZero() && next.Before(d.End); next = f.Schedule.Next(next, f.Name) {
			p.run(d, next)
		}
		p.end(d)
	}
	return out
}

// play is a source on its way through the days.
type play struct {
	Forecast
	done   []Done
	points []Point
	bytes  []int64 // of each point: what is stored for it since the point before
	ran    bool    // there was a run
}

// run takes the snapshot that is due at a time, if one is.
func (p *play) run(d *Day, at time.Time) {
	run, ok := p.Schedule.Due(at, p.Name, p.done)
	if !ok {
		return
	}
	p.did(Done{Due: run.Due, Full: run.Full}, at)
	size := p.Sizes.Increment
	if len(p.points) == 0 {
		size = p.Sizes.Full
	}
	for i := len(p.points) - 1; i >= 0 && !p.ran; i-- {
		p.points[i].Newest = nil // every copy gets the new one
	}
	p.ran = true
	p.points, p.bytes = append(p.points, Point{At: at}), append(p.bytes, size)
	if p.Logs && p.LogSince.IsZero() {
		p.LogSince = at
	}
	if run.Full {
		d.Full = append(d.Full, at)
	} else {
		d.Incremental = append(d.Incremental, at)
	}
}

// did adds what was done, without what can no longer count beside it: Due then has little to look at.
func (p *play) did(d Done, now time.Time) {
	if !d.Due.After(now) {
		p.done = slices.DeleteFunc(p.done, func(old Done) bool { return !old.Due.After(d.Due) && (d.Full || !old.Full) })
	}
	p.done = append(p.done, d)
}

// end applies retention, and says what there is then.
func (p *play) end(d *Day) {
	d.Kept = map[string]int{}
	if p.Retention.Zero() {
		d.Kept[RuleAll] = len(p.points)
	} else {
		p.prune(d)
	}
	d.Total = len(p.points)
	if d.Total == 0 {
		delete(d.Kept, RuleAll)
		return
	}
	d.Earliest = p.points[0].At
	for _, b := range p.bytes {
		d.Bytes += b
	}
	if !p.LogSince.IsZero() {
		d.EarliestPoint = p.logFrom(d.evening())
		d.Bytes += int64(float64(p.Sizes.LogPerDay) * d.End.Sub(d.EarliestPoint).Hours() / 24)
	}
}

// evening is when retention is applied: a second later it is another day.
func (d *Day) evening() time.Time { return d.End.Add(-time.Second) }

// prune drops what is not kept. What its changes took is counted for the next one that is kept, because changes of other places than
// those of the next one are needed there; more than a full snapshot that cannot be.
func (p *play) prune(d *Day) {
	kept, carried := 0, int64(0)
	for i, decision := range p.Retention.Decide(d.evening(), p.points) {
		carried += p.bytes[i]
		if !decision.Keep {
			d.Dropped++
			continue
		}
		d.Kept[ruleOf(decision)]++
		p.points[kept], p.bytes[kept] = p.points[i], min(carried, max(p.Sizes.Full, p.bytes[i]))
		kept, carried = kept+1, 0
	}
	p.points, p.bytes = p.points[:kept], p.bytes[:kept]
}

// ruleOf is the first of the rules that keep a snapshot.
func ruleOf(d Decision) string {
	best := len(Rules)
	for _, why := range d.Reasons {
		rule, _, ok := strings.Cut(why, ":")
		if !ok {
			rule = RuleNewest
		}
		best = min(best, slices.Index(Rules, rule))
	}
	return Rules[best]
}

// logFrom is from when on log is needed at a time: as repository.neededLogs has it, from the newest snapshot that is not inside of the
// window, or the oldest there is, on; and from when on there is some.
func (p *play) logFrom(now time.Time) time.Time {
	begin, base := p.Retention.PITR.Before(now), p.points[0].At
	for _, q := range p.points {
		if !q.Damaged && !q.At.After(begin) && !p.Retention.Zero() {
			base = q.At
		}
	}
	if base.Before(p.LogSince) {
		return p.LogSince
	}
	return base
}

// Sum adds up the same days of several sources: runs, numbers and bytes, and the latest of the earliest times, from which on all of
// them can be restored.
func Sum(sources ...[]Day) []Day {
	var out []Day
	for _, days := range sources {
		for i, d := range days {
			if i == len(out) {
				out = append(out, Day{Begin: d.Begin, End: d.End, Kept: map[string]int{}})
			}
			sum := &out[i]
			sum.Full, sum.Incremental = append(sum.Full, d.Full...), append(sum.Incremental, d.Incremental...)
			sum.Dropped, sum.Total, sum.Bytes = sum.Dropped+d.Dropped, sum.Total+d.Total, sum.Bytes+d.Bytes
			for rule, n := range d.Kept {
				sum.Kept[rule] += n
			}
			sum.Earliest = latest(sum.Earliest, d.Earliest)
			sum.EarliestPoint = latest(sum.EarliestPoint, d.EarliestPoint)
		}
	}
	for i := range out {
		slices.SortFunc(out[i].Full, time.Time.Compare)
		slices.SortFunc(out[i].Incremental, time.Time.Compare)
	}
	return out
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
