package evidence

import (
	"fmt"
	"math"
	"time"
)

// label is a text at a place of a drawing.
type label struct {
	X, Y, TextX, TextY int
	Anchor, Text       string
}

// timeline is the phases of a drill, one below the other.
type timeline struct {
	Height     int
	Start, End time.Time
	Ticks      []label
	Bars       []bar
	Target     *label // where the RTO would have been missed
	More       int
	Notes      []string
}

type bar struct {
	Y, TextY                int
	X, Width                string
	Name, Text, Title, Fill string
}

// The plot of the timeline in its coordinates, and how many phases it has at most.
const (
	barsLeft, barsRight = 130.0, 590.0
	barsTop, barStep    = 24, 24
	mostBars            = 40
)

// phaseFills are told apart by people who do not see all colours, and in grey.
var phaseFills = map[string]string{PhaseQueue: "#d9d9d9", PhasePlan: "#cc79a7", PhaseRestore: "#0072b2", PhaseReplay: "#56b4e9", PhaseChecks: "#009e73", PhaseTeardown: "#e69f00"}

func (l language) timeline(r *Report) *timeline {
	all := r.Timeline
	if len(all) == 0 {
		return nil
	}
	t := &timeline{Start: all[0].Start, End: all[0].End, More: max(0, len(all)-mostBars)}
	var ready time.Time // the engine could be used
	for _, p := range all {
		if p.Start.Before(t.Start) {
			t.Start = p.Start
		}
		if p.End.After(t.End) {
			t.End = p.End
		}
		if p.Name == PhaseReplay {
			ready = p.End
		}
	}
	total := max(float64(t.End.Sub(t.Start)), float64(time.Millisecond))
	due := float64(ready.Sub(t.Start)) + float64(r.RTO.Target-r.RTO.Actual)*float64(time.Millisecond)
	marked := !ready.IsZero() && r.RTO.Target > 0 && r.RTO.Actual > 0 && due >= 0 && due <= 3*total
	if marked {
		total = max(total, due)
	}
	x := func(d float64) float64 { return barsLeft + (barsRight-barsLeft)*min(max(d/total, 0), 1) }
	for i, p := range all[:len(all)-t.More] {
		t.Bars = append(t.Bars, l.bar(p, barsTop+i*barStep, x(float64(p.Start.Sub(t.Start))), x(float64(p.End.Sub(t.Start)))))
		if p.Note != "" {
			t.Notes = append(t.Notes, l.word("phase", p.Name)+l.colon(p.Note))
		}
	}
	bottom := barsTop + len(t.Bars)*barStep
	t.Height = bottom + 18
	for _, at := range ticks(total / float64(time.Millisecond)) {
		t.Ticks = append(t.Ticks, label{X: int(math.Round(x(at * float64(time.Millisecond)))), Y: bottom, TextY: bottom + 13, Text: l.duration(int64(at))})
	}
	if marked {
		t.Target = &label{X: int(math.Round(x(due))), Y: bottom, TextY: 13, Anchor: "end", Text: l.text("rto line", l.duration(r.RTO.Target))}
		t.Target.TextX = t.Target.X - 5
		if due < total/2 {
			t.Target.TextX, t.Target.Anchor = t.Target.X+5, "start"
		}
	}
	return t
}

func (l language) bar(p Phase, y int, from, to float64) bar {
	b := bar{Y: y, TextY: y + 12, X: fmt.Sprintf("%.1f", from), Width: fmt.Sprintf("%.1f", max(to-from, 1.5)), Name: l.word("phase", p.Name), Fill: phaseFills[p.Name]}
	if b.Fill == "" {
		b.Fill = "#ffffff"
	}
	b.Text = l.duration(p.End.Sub(p.Start).Milliseconds())
	if p.Bytes > 0 {
		b.Text = size(p.Bytes) + ", " + b.Text
	}
	b.Title = join(", ", b.Name, l.at(p.Start), b.Text, p.Note)
	return b
}

// steps are the distances of lines at which people read a scale of time, in milliseconds.
var steps = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 10800e3, 21600e3, 43200e3, 86400e3}

// ticks are round times from 0 up to most, at most seven of them.
func ticks(most float64) []float64 {
	step := steps[len(steps)-1]
	for _, s := range steps {
		if most <= 6*s {
			step = s
			break
		}
	}
	for most > 6*step {
		step *= 2
	}
	var out []float64
	for v := 0.0; v <= most; v += step {
		out = append(out, v)
	}
	return out
}
