package policies

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"lifeboat/internal/calendar"
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
		list = append(list, time.UnixMilli(one.from).UTC().Format(stamp)+" to "+time.UnixMilli(one.to).UTC().Format(stamp))
	}
	n := s.count()
	return fmt.Sprintf("%d milliseconds (%s) in %s: %s; number %d was drawn", n, time.Duration(n)*time.Millisecond, english.Plural(len(s), "interval", ""), listed(list), i)
}

func snapshotPopulation(snapshots []DrillSnapshot, i int64) string {
	list := make([]string, 0, len(snapshots))
	for _, s := range snapshots {
		list = append(list, s.ID)
	}
	return fmt.Sprintf("%s: %s; number %d was drawn", english.Plural(len(list), "snapshot", ""), listed(list), i)
}

// listed lists all, or where they are too many the first and the last, and a digest by which a list of all can be proven.
func listed(list []string) string {
	if len(list) <= maxListed {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s ... %s (SHA-256 of all, each with a line feed: %x)", list[0], list[len(list)-1], sha256.Sum256([]byte(strings.Join(list, "\n")+"\n")))
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
			excluded = append(excluded, Excluded{"snapshot " + s.ID, s.Against})
		default:
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b DrillSnapshot) int { return cmp.Or(a.Taken.Compare(b.Taken), cmp.Compare(a.ID, b.ID)) })
	excluded = bounded(excluded, "snapshots")
	if old > 0 {
		excluded = append(excluded, Excluded{english.Plural(old, "snapshot", "") + " before " + in.From.Format(stamp), outside(window)})
	}
	if ahead > 0 {
		excluded = append(excluded, Excluded{english.Plural(ahead, "snapshot", "") + " after " + in.To.Format(stamp), "it is not yet that time"})
	}
	return out, excluded
}

func outside(window calendar.Duration) string {
	return "outside of the window of " + window.Words()
}

// leftOut says what of the time of a source cannot be drawn: gaps, and what is outside of a window.
func (r DrillReach) leftOut(in Interval, window calendar.Duration) (out []Excluded) {
	for _, g := range r.Gaps {
		if !g.To.Before(in.From) && !g.From.After(in.To) {
			out = append(out, Excluded{fromTo(g.Interval), g.Reason})
		}
	}
	out = bounded(out, "gaps")
	if before := spansOf(r.Intervals, Interval{To: in.From.Add(-time.Millisecond)}); !in.From.IsZero() && len(before) > 0 {
		out = append(out, Excluded{outsideWords(before), outside(window)})
	}
	if after := spansOf(r.Intervals, Interval{From: in.To.Add(time.Millisecond), To: farAway}); len(after) > 0 {
		out = append(out, Excluded{outsideWords(after), "it is not yet that time"})
	}
	return out
}

// farAway is behind all times.
var farAway = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func outsideWords(s spans) string {
	return fmt.Sprintf("%d milliseconds of %s", s.count(), fromTo(Interval{time.UnixMilli(s[0].from), time.UnixMilli(s[len(s)-1].to)}))
}

func fromTo(i Interval) string {
	return i.From.UTC().Format(stamp) + " to " + i.To.UTC().Format(stamp)
}

// bounded keeps the first of what is left out, and counts the rest.
func bounded(all []Excluded, what string) []Excluded {
	if len(all) <= maxExcluded {
		return all
	}
	return append(all[:maxExcluded:maxExcluded], Excluded{fmt.Sprintf("%d more %s", len(all)-maxExcluded, what), "as those before, each for its own reason"})
}
