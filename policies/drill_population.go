package policies

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/calendar"
	"lifeboat/internal/phrase"
)

// stamp is how times stand in a population: with the milliseconds that are counted.
const stamp = "2006-01-02T15:04:05.000Z"

const (
	maxListed   = 1000 // members of a population
	maxExcluded = 100
)

// population says what was drawn from, so that the draw can be done again, and which number came.
func (s spans) population(i int64) string {
	list := make([]string, 0, len(s))
	for _, one := range s {
		list = append(list, fromTo(Interval{time.UnixMilli(one.from), time.UnixMilli(one.to)}))
	}
	n := s.count()
	return phrase.DrawnMoment.Say(n, time.Duration(n)*time.Millisecond, phrase.Interval.Count(len(s)), listed(list), i)
}

func snapshotPopulation(snapshots []DrillSnapshot, i int64) string {
	list := make([]string, 0, len(snapshots))
	for _, s := range snapshots {
		list = append(list, s.ID)
	}
	return phrase.DrawnSnapshot.Say(phrase.Snapshot.Count(len(list)), listed(list), i)
}

// listed lists all, or where they are too many the first and the last, and a digest by which a list of all can be proven.
func listed(list []string) string {
	if len(list) <= maxListed {
		return strings.Join(list, ", ")
	}
	return phrase.Abridged.Say(list[0], list[len(list)-1], fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(list, "\n")+"\n"))))
}

// snapshotsOf divides snapshots into those of a window, in order of time, and what is left out.
func snapshotsOf(all []DrillSnapshot, in Interval, window calendar.Duration) (out []DrillSnapshot, excluded []Excluded) {
	var old, ahead int
	for _, s := range all {
		switch {
		case s.Taken.Before(in.From):
			old++
		case s.Taken.After(in.To):
			ahead++
		case s.Against != "":
			excluded = append(excluded, Excluded{phrase.TheSnapshot.Say(s.ID), s.Against})
		default:
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b DrillSnapshot) int { return cmp.Or(a.Taken.Compare(b.Taken), cmp.Compare(a.ID, b.ID)) })
	excluded = bounded(excluded, phrase.MoreSnapshots)
	if old > 0 {
		excluded = append(excluded, Excluded{phrase.BeforeWindow.Say(phrase.Snapshot.Count(old), in.From.Format(stamp)), outside(window)})
	}
	if ahead > 0 {
		excluded = append(excluded, Excluded{phrase.BehindWindow.Say(phrase.Snapshot.Count(ahead), in.To.Format(stamp)), phrase.NotYet.Say()})
	}
	return out, excluded
}

func outside(window calendar.Duration) string {
	return phrase.OutsideOfWindow.Say(window.Words())
}

// leftOut says what of the time of a source cannot be drawn: gaps, and what is outside of a window.
func (r DrillReach) leftOut(in Interval, window calendar.Duration) (out []Excluded) {
	for _, g := range r.Gaps {
		if !g.To.Before(in.From) && !g.From.After(in.To) {
			out = append(out, Excluded{fromTo(g.Interval), g.Reason})
		}
	}
	out = bounded(out, phrase.MoreGaps)
	if before := spansOf(r.Intervals, Interval{To: in.From.Add(-time.Millisecond)}); !in.From.IsZero() && len(before) > 0 {
		out = append(out, Excluded{outsideWords(before), outside(window)})
	}
	if after := spansOf(r.Intervals, Interval{From: in.To.Add(time.Millisecond), To: farAway}); len(after) > 0 {
		out = append(out, Excluded{outsideWords(after), phrase.NotYet.Say()})
	}
	return out
}

// farAway is behind all times.
var farAway = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func outsideWords(s spans) string {
	return phrase.MillisecondsOf.Say(s.count(), fromTo(Interval{time.UnixMilli(s[0].from), time.UnixMilli(s[len(s)-1].to)}))
}

func fromTo(i Interval) string {
	return phrase.FromTo.Say(i.From.UTC().Format(stamp), i.To.UTC().Format(stamp))
}

// bounded keeps the first of what is left out, and counts the rest.
func bounded(all []Excluded, more phrase.Phrase) []Excluded {
	if len(all) <= maxExcluded {
		return all
	}
	return append(all[:maxExcluded:maxExcluded], Excluded{more.Say(len(all) - maxExcluded), phrase.EachReason.Say()})
}
