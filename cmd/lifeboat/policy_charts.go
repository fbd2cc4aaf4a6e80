package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"lifeboat/policies"
)

// label is a text at a place of a drawing.
type label struct {
	X, Y, TextY int
	Text        string
}

// cell is a day of the calendar.
type cell struct {
	X, Y, TextX, Line1, Line2 int
	Fill, Day, Runs, Title    string
}

// The calendar has a row for each week, from Monday on.
const (
	calendarLeft, calendarTop = 62, 18
	cellWidth, cellHeight     = 94, 40
)

func (p *planPage) calendar(days []policies.Day) {
	for i := range 7 {
		p.Weekdays = append(p.Weekdays, label{X: calendarLeft + i*cellWidth, Text: time.Weekday((i + 1) % 7).String()})
	}
	column := func(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }
	before := column(days[0].Begin)
	for i, d := range days {
		x, y := calendarLeft+column(d.Begin)*cellWidth, calendarTop+(before+i)/7*cellHeight
		c := cell{X: x, Y: y, TextX: x + 6, Line1: y + 14, Line2: y + 28, Fill: "#ffffff", Day: fmt.Sprint(d.Begin.Day())}
		if d.Begin.Day() == 1 || i == 0 {
			c.Day = d.Begin.Format("2 Jan")
		}
		switch full, incremental := len(d.Full), len(d.Incremental); {
		case full > 0:
			c.Fill, c.Runs = "#9ecae1", strings.TrimSuffix(fmt.Sprintf("%d F, %d I", full, incremental), ", 0 I")
		case incremental > 0:
			c.Fill, c.Runs = "#e3eef6", fmt.Sprintf("%d I", incremental)
		}
		c.Title = d.Begin.Format("Mon 2006-01-02")
		for _, t := range d.Full {
			c.Title += ", full at " + t.In(d.Begin.Location()).Format("15:04")
		}
		p.Cells = append(p.Cells, c)
		if i == 0 || column(d.Begin) == 0 {
			_, week := d.Begin.ISOWeek()
			p.Weeks = append(p.Weeks, label{Y: y + 20, Text: fmt.Sprintf("week %d", week)})
		}
	}
	p.CalendarHeight = calendarTop + ((before+len(days)-1)/7+1)*cellHeight
}

// chart is bands on top of each other over the days.
type chart struct {
	ID, Label    string
	Lines, Ticks []label
	Bands        []band
}

type band struct{ Name, Fill, Path, Last string }

// The plot of a chart, in its coordinates.
const (
	plotLeft, plotRight, plotTop, plotBottom = 70.0, 695.0, 10.0, 205.0
)

// fills are told apart by people who do not see all colours, and in grey.
var fills = map[string]string{policies.RuleHeld: "#000000", "minimum": "#cc79a7", "pitr": "#0072b2", "daily": "#56b4e9", "weekly": "#009e73", "monthly": "#f0e442",
	"yearly": "#e69f00", "floor": "#d9d9d9", policies.RuleNewest: "#d55e00", policies.RuleAll: "#0072b2"}

// keptChart shows how many snapshots each rule keeps.
func keptChart(days []policies.Day) chart {
	most := 0
	for _, d := range days {
		most = max(most, d.Total)
	}
	top, step := scale(float64(most))
	c := newChart("kept", "Snapshots kept, by rule", days, top, step, func(v float64) string { return humanize.Comma(int64(v)) })
	below := make([]float64, len(days))
	for _, rule := range policies.Rules {
		values, there := make([]float64, len(days)), false
		for i, d := range days {
			values[i] = float64(d.Kept[rule])
			there = there || d.Kept[rule] > 0
		}
		if there {
			c.Bands = append(c.Bands, band{Name: rule, Fill: fills[rule], Path: area(below, values, top), Last: humanize.Comma(int64(values[len(days)-1]))})
		}
	}
	return c
}

// sizeChart shows how much a copy takes.
func sizeChart(r *planReport) chart {
	values, most := make([]float64, len(r.days)), 0.0
	for i, d := range r.days {
		values[i] = float64(d.Bytes)
		most = max(most, values[i])
	}
	unit := math.Pow(1024, math.Floor(math.Log(max(most, 1))/math.Log(1024))) // round in the unit that people read
	top, step := scale(most / unit)
	c := newChart("size", "Size of a copy", r.days, top*unit, step*unit, func(v float64) string { return humanize.IBytes(uint64(v)) })
	if r.Total[0].Bytes != nil {
		c.Bands = []band{{Name: "a copy", Fill: "#bcd9ea", Path: area(make([]float64, len(values)), values, top*unit), Last: sizeText(r.Total[len(values)-1].Bytes)}}
	}
	return c
}

// scale is a round number from most on, and how far lines are apart up to it.
func scale(most float64) (top, step float64) {
	step = math.Pow(10, math.Floor(math.Log10(max(most, 1)/2)))
	for _, by := range []float64{1, 2, 5, 10} {
		if most <= step*by*5 {
			step *= by
			break
		}
	}
	step = max(step, 1)
	return max(math.Ceil(most/step), 1) * step, step
}

func newChart(id, what string, days []policies.Day, top, step float64, text func(float64) string) chart {
	c := chart{ID: id, Label: what}
	for v := 0.0; v <= top; v += step {
		y := int(math.Round(height(v, top)))
		c.Lines = append(c.Lines, label{Y: y, TextY: y + 4, Text: text(v)})
	}
	const ticks = 6
	for i := range min(ticks, len(days)) {
		at := i * (len(days) - 1) / max(min(ticks, len(days))-1, 1)
		c.Ticks = append(c.Ticks, label{X: int(math.Round(across(at, len(days)))), Text: days[at].Begin.Format("2 Jan")})
	}
	return c
}

func height(v, top float64) float64 { return plotBottom - (plotBottom-plotTop)*v/top }

// across is where a day stands; one alone fills the plot.
func across(i, n int) float64 { return plotLeft + (plotRight-plotLeft)*float64(i)/float64(max(n-1, 1)) }

// area draws a band of values on top of what is below, which then is below the next one.
func area(below, values []float64, top float64) string {
	n := len(values)
	if n == 1 {
		x0, x1, y0 := plotLeft, plotRight, height(below[0], top)
		below[0] += values[0]
		return fmt.Sprintf("M%.1f %.1fH%.1fV%.1fH%.1fZ", x0, y0, x1, height(below[0], top), x0)
	}
	var up, down strings.Builder
	for i := range values {
		j := n - 1 - i
		fmt.Fprintf(&down, "L%.1f %.1f", across(j, n), height(below[j], top))
	}
	for i, v := range values {
		below[i] += v
		fmt.Fprintf(&up, "L%.1f %.1f", across(i, n), height(below[i], top))
	}
	return "M" + up.String()[1:] + down.String() + "Z"
}
