package policies

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"lifeboat/internal/calendar"
)

// Schedule is when snapshots of a source are taken.
type Schedule struct {
	Full, Incremental *calendar.Cron // nil: none of the kind by schedule
	Zone              *time.Location // of the windows
	Jitter            time.Duration  // runs are spread over it, each source's always by the same
	Blackout          []calendar.Window
}

// Served is which times of its schedule a source has snapshots for. A time counts as served only by a snapshot that names it: what is
// in the journal is the one truth, so a run that died before its commit is done again, and one that died behind it is not.
type Served struct {
	Full, Any time.Time // the newest of them; zero for none
	Snapshot  bool      // there is a snapshot at all
	Broken    string    // why nothing can be built on the newest snapshot; empty where it can
}

// Run is a snapshot that is due.
type Run struct {
	Due    time.Time // the time of the schedule that it serves
	Full   bool
	Why    string
	Missed int // how many times of the schedule before it passed without a run, which it stands for; at most manyMissed
}

// manyMissed bounds what is counted.
const manyMissed = 1000

// Due says which snapshot is due, if one is. However many times of the schedule have passed, it is one. Times that were served and
// lie behind now are not heeded: a clock that was wrong for a while must not stop backups until that time comes.
func (s Schedule) Due(now time.Time, source string, served []Done) (Run, bool) {
	if s.black(now) {
		return Run{}, false
	}
	have := heed(served, now)
	now = now.Add(-s.spread(source))
	full, due := newest(s.Full, have.Full, now), s.newest(have.Any, now)
	run := Run{Due: due}
	switch {
	case due.IsZero() && full.IsZero():
		return Run{}, false
	case !have.Snapshot:
		run.Full, run.Why = true, "there is no snapshot to build on yet"
	case !full.IsZero():
		run.Full, run.Why = true, "the schedule of fulls asks for it"
	case have.Broken != "":
		run.Full, run.Why = true, "nothing can be built on the newest snapshot: "+have.Broken
	default:
		run.Why = "the schedule of incrementals asks for it"
	}
	if due.IsZero() {
		run.Due = full
	}
	run.Missed = s.missed(have.Any, due)
	return run, true
}

// Done is a snapshot that was taken for a time of a schedule; Due is zero where somebody asked for it.
type Done struct {
	Due    time.Time
	Full   bool
	Broken string
}

// heed sums up what counts at a time. done is in the order of the journal.
func heed(done []Done, now time.Time) (s Served) {
	for _, d := range done {
		s.Snapshot, s.Broken = true, d.Broken
		if d.Due.After(now) {
			continue
		}
		if d.Due.After(s.Any) {
			s.Any = d.Due
		}
		if d.Full && d.Due.After(s.Full) {
			s.Full = d.Due
		}
	}
	return s
}

// Next is when something of the schedule comes up behind a time: a snapshot is due then, unless a blackout holds it up until Next
// of its end.
func (s Schedule) Next(after time.Time, source string) time.Time {
	spread := s.spread(source)
	next := s.next(after.Add(-spread))
	if next.IsZero() {
		return next
	}
	return s.clear(next.Add(spread))
}

// At is when the run for a time of the schedule begins, if no blackout holds it up.
func (s Schedule) At(due time.Time, source string) time.Time { return due.Add(s.spread(source)) }

// clear is the first minute from a time on that no blackout covers.
func (s Schedule) clear(t time.Time) time.Time {
	for s.black(t) {
		t = t.Truncate(time.Minute).Add(time.Minute)
	}
	return t
}

func (s Schedule) black(t time.Time) bool {
	return slices.ContainsFunc(s.Blackout, func(w calendar.Window) bool { return w.Open(t.In(s.Zone)) })
}

// spread is how long after its time a run of a source begins.
func (s Schedule) spread(source string) time.Duration {
	seconds := int64(s.Jitter / time.Second)
	if seconds == 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprint(h, source)
	return time.Duration(h.Sum64()%uint64(seconds)) * time.Second
}

// newest is the newest time of the schedule behind since and not behind now; zero if there is none.
func (s Schedule) newest(since, now time.Time) time.Time {
	full, incremental := newest(s.Full, since, now), newest(s.Incremental, since, now)
	if full.After(incremental) {
		return full
	}
	return incremental
}

func newest(c *calendar.Cron, since, now time.Time) time.Time {
	if c == nil {
		return time.Time{}
	}
	if since.IsZero() {
		return c.Last(now)
	}
	first := c.Next(since)
	if first.IsZero() || first.After(now) {
		return time.Time{}
	}
	if second := c.Next(first); second.IsZero() || second.After(now) {
		return first // as it is nearly always
	}
	return c.Last(now)
}

// next is the first time of the schedule behind a time.
func (s Schedule) next(after time.Time) (next time.Time) {
	for _, c := range []*calendar.Cron{s.Full, s.Incremental} {
		if c == nil {
			continue
		}
		if t := c.Next(after); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// missed counts the times of the schedule between two of them.
func (s Schedule) missed(served, due time.Time) (n int) {
	if served.IsZero() {
		return 0
	}
	for t := s.next(served); t.Before(due) && !t.IsZero() && n < manyMissed; t = s.next(t) {
		n++
	}
	return n
}

// Longest is the longest time between two runs that follow each other in the time to come; 0 where there are none.
func (s Schedule) Longest(now time.Time) (longest time.Duration) {
	const look = 100 // a week of hours has all that a schedule of hours leaves out
	for t, i := s.next(now), 0; !t.IsZero() && i < look; i++ {
		next := s.next(t)
		longest = max(longest, next.Sub(t))
		t = next
	}
	return longest
}
