package evidence

import (
	"fmt"
	"math"
	"strings"
)

// trend is one measure over the latest drills, this one last.
type trend struct {
	ID, Label string
	Lines     []label
	Ticks     []label
	Target    *label
	Path      string
	Dots      []dot
}

type dot struct{ Path, Fill, Stroke, Title string }

// The plot of a trend in its coordinates, and how many drills it shows.
const (
	trendLeft, trendRight  = 66.0, 336.0
	trendTop, trendBottom  = 12.0, 165.0
	mostTrend, mostTrendAt = 24, 4
)

func (l language) trends(r *Report) []trend {
	past := append(r.Trend[:len(r.Trend):len(r.Trend)], Past{At: r.Issued, RTO: r.RTO.Actual, RPO: r.RPO.Actual, Result: r.Result})
	past = past[max(0, len(past)-mostTrend):]
	rto := l.trend("trend-rto", l.text("trend rto"), past, r.RTO.Target, func(p Past) (int64, bool) { return p.RTO, p.RTO > 0 })
	rpo := l.trend("trend-rpo", l.text("trend rpo"), past, r.RPO.Target, func(p Past) (int64, bool) { return p.RPO, p.RPO > 0 || p.RPO == 0 && p.RTO > 0 })
	if len(rto.Dots) < 2 && len(rpo.Dots) < 2 {
		return nil
	}
	return []trend{rto, rpo}
}

func (l language) trend(id, what string, past []Past, target int64, value func(Past) (ms int64, measured bool)) trend {
	c, most := trend{ID: id, Label: what}, 1.0
	for _, p := range past {
		v, _ := value(p)
		most = max(most, float64(v))
	}
	if float64(target) < 4*most { // one that is far away would press everything to the ground
		most = max(most, float64(target))
	}
	lines := ticks(most)
	if len(lines) > 1 && lines[len(lines)-1] < most {
		lines = append(lines, 2*lines[len(lines)-1]-lines[len(lines)-2])
	}
	top := max(lines[len(lines)-1], most)
	y := func(v float64) float64 { return trendBottom - (trendBottom-trendTop)*v/top }
	for _, v := range lines {
		at := int(math.Round(y(v)))
		c.Lines = append(c.Lines, label{Y: at, TextY: at + 4, Text: l.duration(int64(v))})
	}
	if target > 0 && float64(target) <= top {
		at := int(math.Round(y(float64(target))))
		c.Target = &label{Y: at, TextY: max(at-4, 9), Text: l.text("target line", l.duration(target))}
	}
	across := func(i int) float64 { return trendLeft + (trendRight-trendLeft)*float64(i+1)/float64(len(past)) }
	var path strings.Builder
	for i, p := range past {
		v, measured := value(p)
		if !measured {
			continue
		}
		fmt.Fprintf(&path, "L%.1f %.1f", across(i), y(float64(v)))
		c.Dots = append(c.Dots, l.dot(across(i), y(float64(v)), p, v))
	}
	if len(c.Dots) > 1 {
		c.Path = "M" + path.String()[1:]
	}
	n := min(mostTrendAt, len(past))
	for i := range n {
		at := len(past) - 1 - i*(len(past)-1)/max(n-1, 1)
		c.Ticks = append(c.Ticks, label{X: int(math.Round(across(at))), Anchor: "middle", Text: past[at].At.UTC().Format("01-02")})
	}
	return c
}

// dot is a drill: its verdict shows in the shape, not only in the colour.
func (l language) dot(x, y float64, p Past, v int64) dot {
	d := dot{Title: join(", ", l.at(p.At), l.duration(v), p.Copy, l.word("verdict", string(p.Result)))}
	circle := fmt.Sprintf("M%.1f %.1fa4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z", x-4, y)
	switch class(p.Result) {
	case string(Pass):
		d.Path, d.Fill, d.Stroke = circle, "#116329", "#116329"
	case string(Fail):
		d.Path, d.Fill, d.Stroke = fmt.Sprintf("M%.1f %.1fl8 8m0 -8l-8 8", x-4, y-4), "none", "#a40e26"
	default:
		d.Path, d.Fill, d.Stroke = circle, "#ffffff", "#7d4e00"
	}
	return d
}
