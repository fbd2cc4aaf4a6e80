package policies

import (
	"fmt"
	"slices"
	"time"
)

// Sample is what is known of one snapshot. Sizes are bytes.
type Sample struct {
	At          time.Time     // when it was taken
	Full        bool          // compared by content: what was stored is more than what is new
	Since       time.Duration // the previous snapshot; 0 where there is none
	Size        int64         // of the source
	Changed     int64         // since the previous snapshot
	New, Stored int64         // content that was stored, and what became of it: the record's new and content, not its stored
	Log         int64         // captured since the previous snapshot; negative where that is not known
}

// Anomaly is a figure of a snapshot that is far outside of what is usual for its source. The figures are shares: 0.41 is 41 %.
type Anomaly struct {
	Measure   string // changed, shrunk, incompressible or log
	Value     float64
	Usual     float64 // the median of what it is compared with
	Low, High float64 // between which nine of ten of these are
	Limit     float64 // above which it is unusual
	Samples   int     // how many it is compared with; 0 where too little is known of the source, and the limit is the same for all
	Text      string  // all this in words
}

// What is usual for a source is known from so many snapshots over so long a time. Until then only what is unusual for any source is told.
const (
	minSamples = 24
	minHistory = 14 * 24 * time.Hour
	quarter    = 91 * 24 * time.Hour
)

// beyond is how many times the top a value must be to be unusual.
const beyond = 1.6

// Unusual compares the newest snapshot of a source with those before it, oldest first, each the next one's previous. It tells what looks like a
// mass deletion, an encryption, a truncation or another database in place of this one, and cannot know whether it was meant.
func Unusual(history []Sample, newest Sample) []Anomaly {
	if len(history) == 0 || history[len(history)-1].Size < tiny || newest.Since <= 0 {
		return nil
	}
	now := step{&newest, history[len(history)-1].Size}
	var past []step
	var out []Anomaly
	for _, m := range measures {
		value, ok := m.value(now)
		if !ok || value <= m.floor {
			continue
		}
		if past == nil { // most snapshots end above
			past = stepsOf(history)
		}
		a := Anomaly{Measure: m.name, Value: value, Limit: m.always}
		if values := m.usual(past, now); len(values) >= minSamples && now.At.Sub(past[0].At) >= minHistory {
			a.learn(values, m.floor, now.At.Sub(past[0].At))
		}
		if a.Limit > 0 && value > a.Limit {
			a.Text = m.text(now, value) + "; " + a.compared(m.of)
			out = append(out, a)
		}
	}
	return out
}

// learn sets what is usual. The top is the highest value, but for two and one more of each quarter of a year: what happens so rarely is not usual,
// and was perhaps an attack. What happens every month is.
func (a *Anomaly) learn(values []float64, floor float64, over time.Duration) {
	slices.Sort(values)
	n := len(values)
	rare := min(2+int(over/quarter), n/40)
	a.Usual, a.Low, a.High, a.Samples = quantile(values, 0.5), quantile(values, 0.05), quantile(values, 0.95), n
	a.Limit = max(floor, beyond*values[n-1-rare])
}

func (a *Anomaly) compared(with string) string {
	if a.Samples == 0 {
		return fmt.Sprintf("above %s is told while too little is known of the source: less than two weeks, or %d snapshots", percent(a.Limit), minSamples)
	}
	return fmt.Sprintf("of the last %d %s the usual was %s to %s, and above %s is told", a.Samples, with, percent(a.Low), percent(a.High), percent(a.Limit))
}

// percent writes a share with about two digits.
func percent(share float64) string {
	switch p := 100 * share; {
	case p >= 9.95:
		return fmt.Sprintf("%.0f%%", p)
	case p >= 0.095:
		return fmt.Sprintf("%.1f%%", p)
	default:
		return fmt.Sprintf("%.2g%%", p)
	}
}

// quantile is the value below which the share q of the sorted values is; between two neighbours, in proportion.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
