package policies

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"lifeboat/internal/calendar"
	"lifeboat/internal/phrase"
)

// ErrNoPoint is wrapped where there is nothing to restore.
var ErrNoPoint = errors.New("there is no point to drill")

// Select is how the point that a drill restores is picked.
type Select string

// The selections.
const (
	SelectLatest   Select = "latest"   // the newest there is
	SelectRandom   Select = "random"   // any time that can be restored
	SelectSnapshot Select = "snapshot" // any snapshot
)

// Interval is a stretch of time of which every moment can be restored, both ends included.
type Interval struct {
	From, To time.Time
}

// Gap is a stretch of time of which no moment can be restored.
type Gap struct {
	Interval
	Reason string
}

// DrillSnapshot is a snapshot that a drill may restore.
type DrillSnapshot struct {
	ID      string
	Taken   time.Time
	Against string // why it is left out; empty: it is not
}

// DrillReach is what can be restored of a source, from the copy that is drilled.
type DrillReach struct {
	Intervals []Interval // none where the source has no log
	Gaps      []Gap
	Snapshots []DrillSnapshot
}

// DrillPoint is the point that a drill restores. Where neither At nor Snapshot is set it is the newest there is.
type DrillPoint struct {
	At         time.Time // UTC, whole milliseconds
	Snapshot   string    // its ID
	Drawn      bool      // by the seed
	Population string    // what was drawn from, with all that it takes to draw again
	Excluded   []Excluded
}

// PickPoint picks the point that a drill restores.
//
// The same can be done with nothing but the report: it has the seed, and the population in words.
//
//   - The window is from begin to now, both included: now is cut to whole milliseconds, and begin is that less window, by the calendar of UTC. Without a
//     window there is no begin.
//   - For SelectRandom, the population is every whole millisecond, since 1970, that lies in the window and in at least one interval. Each counts once; one
//     that lies in a gap does not count.
//   - For SelectSnapshot, and for SelectRandom where no such millisecond exists, it is the snapshots taken in the window, in the order of their times, and
//     of their IDs where the times are equal.
//   - The number drawn is h mod n: h is the SHA-256 of the 16 bytes of the seed, read as an unsigned integer of 256 bits with the most significant byte
//     first, and n the size of the population.
//   - What is picked is the member of the population with that number, in order of time, counted from 0.
//
// As 2²⁵⁶ is so much more than n, no member is preferred by more than one part in 2²⁰⁰. In Python:
//
//	int.from_bytes(hashlib.sha256(bytes.fromhex(seed)).digest(), "big") % n
func PickPoint(sel Select, seed [16]byte, now time.Time, window calendar.Duration, reach DrillReach) (DrillPoint, error) {
	if sel == SelectLatest {
		return DrillPoint{Population: phrase.NewestPoint.Say()}, nil
	}
	in := Interval{To: now.UTC().Truncate(time.Millisecond)}
	if !window.IsZero() {
		in.From = window.Before(in.To)
	}
	var p DrillPoint
	if sel == SelectRandom {
		p.Excluded = reach.leftOut(in, window)
		if spans := spansOf(reach.Intervals, in); len(spans) > 0 {
			i := draw(seed, spans.count())
			p.At, p.Drawn, p.Population = spans.at(i), true, spans.population(i)
			return p, nil
		}
	}
	snapshots, excluded := snapshotsOf(reach.Snapshots, in, window)
	p.Excluded = append(p.Excluded, excluded...)
	if len(snapshots) == 0 {
		return p, fmt.Errorf("%w: no snapshot, and no log, of that time", ErrNoPoint)
	}
	i := draw(seed, int64(len(snapshots)))
	p.Snapshot, p.Drawn, p.Population = snapshots[i].ID, true, snapshotPopulation(snapshots, i)
	return p, nil
}

// draw is a number from 0 to n-1.
func draw(seed [16]byte, n int64) int64 {
	sum := sha256.Sum256(seed[:])
	return new(big.Int).Mod(new(big.Int).SetBytes(sum[:]), big.NewInt(n)).Int64()
}

// span is a stretch of whole milliseconds since 1970, both ends included.
type span struct{ from, to int64 }

// spans are in order, and none touches another.
type spans []span

// spansOf is the part of intervals that lies in a window.
func spansOf(intervals []Interval, in Interval) (out spans) {
	var all spans
	begin, end := millis(in)
	for _, i := range intervals {
		from, to := millis(i)
		if from, to = max(from, begin), min(to, end); from <= to {
			all = append(all, span{from, to})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for _, s := range all {
		if last := len(out) - 1; last >= 0 && s.from <= out[last].to+1 {
			out[last].to = max(out[last].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// millis is the whole milliseconds of an interval; there are none where the first is behind the last.
func millis(i Interval) (first, last int64) {
	first, last = i.From.UnixMilli(), i.To.UnixMilli()
	if time.UnixMilli(first).Before(i.From) {
		first++
	}
	return first, last
}

func (s spans) count() (n int64) {
	for _, one := range s {
		n += one.to - one.from + 1
	}
	return n
}

// at is the millisecond with a number.
func (s spans) at(i int64) time.Time {
	for _, one := range s {
		n := one.to - one.from + 1
		if i < n {
			return time.UnixMilli(one.from + i).UTC()
		}
		i -= n
	}
	return time.Time{}
}
