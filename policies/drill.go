package policies

import (
	"slices"
	"time"

	"lifeboat/internal/calendar"
)

// DrillSchedule is when a policy is drilled.
type DrillSchedule struct {
	Cron *calendar.Cron // nil: by hand only
	// Since is from when on it counts: before, there was no such schedule, or nothing to drill. Zero: it always did.
	Since time.Time
}

// DrilledRun is a drill that stands in the journal.
type DrilledRun struct {
	Source string
	Due    time.Time // the time of the schedule that it serves; zero where somebody asked for it, which serves none
	Began  time.Time
	Copy   string // that was read; empty where it came to none
	Result string // Passed, Failed or Unknown
}

// What a drill, or one of its objectives, comes to.
const (
	Passed  = "pass"
	Failed  = "fail"
	Unknown = "inconclusive"
)

// DrillDue is a drill that is due.
type DrillDue struct {
	Due time.Time // the time of the schedule that it serves
	// Missed are the times of the schedule before it that nothing served since the last one that something did, oldest first: the newest 100.
	Missed []time.Time
	// Overdue is since when the oldest of all these should have been served: a period behind it, or 24 hours if that is less. Zero: there is time yet.
	Overdue time.Time
}

const (
	maxMissed = 100
	drillDay  = 24 * time.Hour
	century   = 100 * 365 * drillDay // no schedule is looked at from longer ago
)

// Due says which drill is due, if one is. However many times of the schedule have passed, it is one. What a drill came to does not matter: one that is in
// the journal serves its time. Times that were served and lie behind now are not heeded: a clock that was wrong must not stop drills until that time comes.
func (s DrillSchedule) Due(now time.Time, runs []DrilledRun) (DrillDue, bool) {
	if s.Cron == nil || s.Since.After(now) {
		return DrillDue{}, false
	}
	served := s.Since
	for _, r := range runs {
		if !r.Due.After(now) {
			served = latest(served, r.Due)
		}
	}
	due := newest(s.Cron, served, now)
	if due.IsZero() {
		return DrillDue{}, false
	}
	d := DrillDue{Due: due}
	oldest := due
	if !served.IsZero() {
		oldest, d.Missed = s.Cron.Next(served), s.missed(served, due)
	}
	grace := drillDay
	if next := s.Cron.Next(oldest); !next.IsZero() {
		grace = min(grace, next.Sub(oldest))
	}
	if at := oldest.Add(grace); at.Before(now) {
		d.Overdue = at
	}
	return d, true
}

// Next is the first time of the schedule behind a time; zero if there is none.
func (s DrillSchedule) Next(after time.Time) time.Time {
	if s.Cron == nil {
		return time.Time{}
	}
	return s.Cron.Next(latest(after, s.Since))
}

// missed lists the newest times of the schedule between two of them. It looks back further and further, as there may have been millions.
func (s DrillSchedule) missed(served, due time.Time) (out []time.Time) {
	for back := time.Hour; ; back *= 2 {
		from := latest(served, due.Add(-back))
		out = out[:0]
		for t := s.Cron.Next(from); !t.IsZero() && t.Before(due); t = s.Cron.Next(t) {
			out = append(out, t)
		}
		if len(out) >= maxMissed || !from.After(served) || back > century {
			return slices.Clone(out[max(0, len(out)-maxMissed):])
		}
	}
}
