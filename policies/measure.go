package policies

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
)

// step is a snapshot with the size of the previous one.
type step struct {
	*Sample
	before int64
}

func stepsOf(samples []Sample) []step {
	steps := make([]step, 0, len(samples))
	for i := range samples {
		if i > 0 && samples[i].Since > 0 && samples[i-1].Size > 0 {
			steps = append(steps, step{&samples[i], samples[i-1].Size})
		}
	}
	return steps
}

// measure is one figure of a snapshot.
type measure struct {
	name   string
	of     string  // what it is compared with, in words
	floor  float64 // what never is unusual
	always float64 // the limit while too little is known of the source; 0 for none
	value  func(step) (v float64, ok bool)
	usual  func(past []step, now step) []float64
	text   func(s step, value float64) string
}

// tiny is how many bytes are too few to tell anything.
const tiny = 1 << 20

var measures = []measure{
	{
		name: "changed", of: "comparable snapshots", floor: 0.07, always: 0.5,
		value: func(s step) (float64, bool) { return overwritten(s), true },
		usual: func(past []step, now step) []float64 {
			// A page that is hit twice has changed once: what adds up is the logarithm of what is left as it was.
			values := windows(past, now, func(s step) float64 { return -math.Log(1 - min(overwritten(s), 0.9999)) })
			for i, v := range values {
				values[i] = 1 - math.Exp(-v)
			}
			return values
		},
		text: func(_ step, v float64) string {
			return percent(v) + " of the content was overwritten since the previous snapshot"
		},
	},
	{
		name: "shrunk", of: "snapshots", floor: 0.2, always: 0.5,
		value: func(s step) (float64, bool) { return shrunk(s), true },
		usual: func(past []step, _ step) []float64 { return each(past, shrunk) },
		text: func(s step, v float64) string {
			return fmt.Sprintf("the source shrank by %s, from %s to %s", percent(v), humanize.IBytes(uint64(s.before)), humanize.IBytes(uint64(s.Size)))
		},
	},
	{
		name: "incompressible", of: "stretches of new content", floor: 0.5,
		value: func(s step) (float64, bool) {
			return float64(s.Stored) / float64(s.New), !s.Full && s.New >= telling(s)
		},
		usual: func(past []step, now step) []float64 { return compressed(past, telling(now)) },
		text: func(s step, v float64) string {
			return fmt.Sprintf("%s of new content took %s of that compressed, as what is encrypted does", humanize.IBytes(uint64(s.New)), percent(v))
		},
	},
	{
		name: "log", of: "comparable snapshots", floor: 1,
		value: func(s step) (float64, bool) { return logged(s), s.Log >= tiny },
		usual: func(past []step, now step) []float64 { return windows(past, now, logged) },
		text: func(s step, v float64) string {
			return fmt.Sprintf("%s of log came since the previous snapshot, %s of the source's size", humanize.IBytes(uint64(s.Log)), percent(v))
		},
	},
}

// overwritten is the share of what was there that has another content now. What was added destroys nothing.
func overwritten(s step) float64 {
	return float64(max(0, s.Changed-max(0, s.Size-s.before))) / float64(s.before)
}

func shrunk(s step) float64 { return max(0, 1-float64(s.Size)/float64(s.before)) }

// logged is NaN where it is not known.
func logged(s step) float64 {
	if s.Log < 0 {
		return math.NaN()
	}
	return float64(s.Log) / float64(s.before)
}

func each(steps []step, figure func(step) float64) []float64 {
	values := make([]float64, 0, len(steps))
	for _, s := range steps {
		values = append(values, figure(s))
	}
	return values
}

// telling is how much new content tells how well the content of a source compresses; a few files do not.
func telling(s step) int64 { return max(tiny, s.Size/200) }

// compressed says how well content compressed, over stretches of so much of it; of less where there would be too few.
func compressed(steps []step, enough int64) (values []float64) {
	var plain, stored int64
	for _, s := range steps {
		plain += s.New
	}
	enough = max(tiny/16, min(enough, plain/(4*minSamples)))
	plain = 0
	for _, s := range steps {
		if s.Full {
			continue
		}
		plain, stored = plain+s.New, stored+s.Stored
		if plain >= enough {
			values = append(values, float64(stored)/float64(plain))
			plain, stored = 0, 0
		}
	}
	return values
}

// windows sums a figure over the snapshots of as much time as lies between now and the snapshot before: after missed runs more may
// have changed. Less time than usual counts as the usual: work comes in bursts.
func windows(past []step, now step, figure func(step) float64) (values []float64) {
	since := max(now.Since, usualTime(past))
	var sum float64
	var long time.Duration
	first := 0
	for i, s := range past {
		f := figure(s)
		if math.IsNaN(f) || s.Since > 2*since { // not known, or of more time
			first, sum, long = i+1, 0, 0
			continue
		}
		sum, long = sum+f, long+s.Since
		for first < i && long-past[first].Since >= since*3/4 {
			sum, long = sum-figure(past[first]), long-past[first].Since
			first++
		}
		if long >= since*3/4 {
			values = append(values, max(0, sum)) // rounding may leave less than nothing
		}
	}
	return values
}

// usualTime is the median of the times between snapshots.
func usualTime(steps []step) time.Duration {
	values := each(steps, func(s step) float64 { return float64(s.Since) })
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return time.Duration(quantile(values, 0.5))
}
