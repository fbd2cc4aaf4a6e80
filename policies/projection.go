package policies

import (
	"math"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"lifeboat/internal/calendar"
	"lifeboat/internal/phrase"
)

// DefaultRTO is how long a restore may take where a policy says nothing of it.
var DefaultRTO = calendar.Duration{N: 4, Unit: "h"}

// RTO is how long a restore may take by a policy that says so, or does not.
func RTO(said calendar.Duration) time.Duration {
	if said.IsZero() {
		said = DefaultRTO
	}
	return said.Length()
}

// Meets judges what was measured by what was promised, both inclusive. What was not measured, or not promised, is Unknown.
func Meets(measured time.Duration, known bool, target time.Duration) string {
	switch {
	case !known || target <= 0:
		return Unknown
	case measured <= target:
		return Passed
	}
	return Failed
}

// Restored is how long an earlier drill took, for how much.
type Restored struct {
	Copy    string
	Size    int64         // of the database, bytes
	LogSize int64         // that was replayed, bytes
	Restore time.Duration // until everything was written
	Replay  time.Duration // from then on until the engine was ready
	Rest    time.Duration // of the RTO: what comes before and between, whatever the size
}

// Projection is how long a restore of so much would take from the slowest copy of those that were drilled.
type Projection struct {
	Size, LogSize       int64
	Copy                string // the slowest
	Duration, Low, High time.Duration
	Model               string  // in words, with its numbers
	Samples             int     // that it rests on
	Error               float64 // mean of how far it is off, as a share of what was measured; 1 where one sample alone says nothing of it
}

// maxRestored bounds how many drills count: the newest.
const maxRestored = 100

// Project says from earlier drills, oldest first, how long a restore of size bytes with logSize bytes of log would take. ok is false without drills.
//
// The duration is the sum of three parts: restore from the slowest copy, by the size, from the drills that read that copy; replay, by the size of the log,
// from all drills; and the rest, which is the mean of what was measured. Restore and replay are lines, a fixed part and a rate, neither of them below
// zero, that fit best by least squares. Where all drills were of much the same size no fixed part can be told from the rate: then all of it counts as
// proportional, which is cautious where more is projected, and nothing takes less than it took on average.
//
// Low and High are the 95% interval of prediction by Student's t, of the three parts in quadrature, and never closer than 5%; with a single sample, or two
// on a line, they are half and double. Error leaves out one drill after the other and projects it from the others; where that cannot be done, it is how far
// the lines are off.
func Project(drills []Restored, size, logSize int64) (p Projection, ok bool) {
	drills = drills[max(0, len(drills)-maxRestored):]
	m, ok := modelOf(drills, size)
	if !ok {
		return Projection{}, false
	}
	total, spread := m.project(size, logSize)
	p = Projection{Size: size, LogSize: logSize, Copy: m.copy, Samples: len(drills), Error: errorOf(drills, m), Model: m.words()}
	p.Duration, p.Low, p.High = seconds(total), seconds(total/2), seconds(2*total)
	if !math.IsInf(spread, 1) {
		spread = max(spread, total/20)
		p.Low, p.High = seconds(max(0, total-spread)), seconds(total+spread)
	} else {
		p.Model += "; " + phrase.ModelVague.Say()
	}
	return p, true
}

// Verdict judges a projection. It is Unknown where the promise lies between Low and High.
func (p Projection) Verdict(target time.Duration) string {
	switch {
	case target <= 0 || p.Samples == 0 || p.Low <= target && target < p.High:
		return Unknown
	case p.High <= target:
		return Passed
	}
	return Failed
}

// model is what drills say of the time that restores take, in seconds and bytes.
type model struct {
	copy                  string
	restore, replay, rest line
}

// modelOf is that of the copy from which size bytes take the longest.
func modelOf(drills []Restored, size int64) (m model, ok bool) {
	var copies []string
	for _, d := range drills {
		if !slices.Contains(copies, d.Copy) {
			copies = append(copies, d.Copy)
		}
	}
	for _, c := range copies {
		if l := restoreLine(drills, c); !ok || l.at(float64(size)) > m.restore.at(float64(size)) {
			m.copy, m.restore, ok = c, l, true
		}
	}
	m.replay = fit(column(drills, func(d Restored) (float64, float64) { return float64(d.LogSize), d.Replay.Seconds() }))
	m.rest = constant(column(drills, func(d Restored) (float64, float64) { return 0, d.Rest.Seconds() }))
	return m, ok
}

func restoreLine(drills []Restored, from string) line {
	own := slices.DeleteFunc(slices.Clone(drills), func(d Restored) bool { return d.Copy != from })
	return fit(column(own, func(d Restored) (float64, float64) { return float64(d.Size), d.Restore.Seconds() }))
}

func column(drills []Restored, of func(Restored) (x, y float64)) []measured {
	out := make([]measured, 0, len(drills))
	for _, d := range drills {
		x, y := of(d)
		out = append(out, measured{max(0, x), max(0, y)})
	}
	return out
}

// project is how long a restore takes, and by how much that may be off.
func (m model) project(size, logSize int64) (total, spread float64) {
	x, y := float64(size), float64(logSize)
	return m.restore.at(x) + m.replay.at(y) + m.rest.at(0), math.Hypot(m.restore.spread(x), math.Hypot(m.replay.spread(y), m.rest.spread(0)))
}

// errorOf is how far a model is off, on average, on drills that it does not know.
func errorOf(drills []Restored, m model) float64 {
	var left, known []float64
	for i, d := range drills {
		actual := (d.Restore + d.Replay + d.Rest).Seconds()
		if actual <= 0 {
			continue
		}
		others := slices.Delete(slices.Clone(drills), i, i+1)
		own := m
		own.restore = restoreLine(drills, d.Copy)
		total, _ := own.project(d.Size, d.LogSize)
		known = append(known, math.Abs(total-actual)/actual)
		own, ok := modelOf(others, d.Size)
		if own.restore = restoreLine(others, d.Copy); !ok || own.restore.samples == 0 {
			continue
		}
		total, _ = own.project(d.Size, d.LogSize)
		left = append(left, math.Abs(total-actual)/actual)
	}
	switch {
	case len(left) > 0:
		return mean(left)
	case len(known) > 1:
		return mean(known)
	}
	return 1
}

func (m model) words() string {
	return phrase.Model.Say(m.copy, phrase.Drill.Count(m.restore.samples), m.restore.words(phrase.FixedContent, phrase.RateContent, phrase.FixedAndContent),
		phrase.Drill.Count(m.replay.samples), m.replay.words(phrase.FixedLog, phrase.RateLog, phrase.FixedAndLog), seconds(m.rest.fixed).Round(time.Millisecond))
}

// words say a line with its numbers: what is fixed alone, a rate alone, or both.
func (l line) words(fixedOnly, rateOnly, both phrase.Phrase) string {
	fixed := seconds(l.fixed).Round(time.Millisecond).String()
	if l.slope == 0 {
		return fixedOnly.Say(fixed)
	}
	rate := humanize.IBytes(uint64(min(1/l.slope, 1<<60)))
	if l.least > 0 {
		return rateOnly.Say(rate) + ", " + phrase.SameSize.Say(seconds(l.at(0)).Round(time.Millisecond))
	}
	if l.fixed == 0 {
		return rateOnly.Say(rate)
	}
	return both.Say(fixed, rate)
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/float64(2*time.Second)) * float64(time.Second))
}
