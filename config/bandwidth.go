package config

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"lifeboat/internal/bandwidth"
	"lifeboat/internal/calendar"
)

// bandwidth decodes one rate for all times, or a list of windows with a rate each.
func (d *decoder) bandwidth(dst *bandwidth.Schedule) func(ast.Node) {
	return func(n ast.Node) {
		r, ok := d.resolve(n)
		if !ok {
			return
		}
		if _, list := r.(*ast.SequenceNode); list {
			d.windows(&dst.Windows, r)
			return
		}
		var one bandwidth.Rate
		if d.rate(&one)(r); one > 0 {
			dst.Windows = bandwidth.Always(one).Windows
		}
	}
}

// windows decodes windows, of which no two are open at the same time.
func (d *decoder) windows(dst *[]bandwidth.Window, n ast.Node) {
	var nodes []ast.Node // of dst
	for _, v := range d.list(n, "a list of windows") {
		before := len(d.problems)
		w := bandwidth.Window{Window: calendar.Always}
		d.section(v, "of a window of bandwidth", append(d.window(&w.Window), field{"rate", true, d.rate(&w.Rate)})...)
		if d.empty(v, w.Window); len(d.problems) > before {
			continue
		}
		for i, other := range *dst {
			if at := w.Overlap(other.Window); at != "" {
				d.problem(start(v), fmt.Sprintf("a window that overlaps that on line %d, on %s", start(nodes[i]).GetToken().Position.Line, at),
					"let each window end where the next one begins; outside of all windows there is no limit")
				break
			}
		}
		*dst, nodes = append(*dst, w), append(nodes, v)
	}
}

// window is the fields of a window of the week.
func (d *decoder) window(dst *calendar.Window) []field {
	return []field{{"from", false, d.timeOfDay(&dst.From)}, {"to", false, d.timeOfDay(&dst.To)}, {"days", false, d.days(&dst.Days)}}
}

// empty reports a window in which there is no time.
func (d *decoder) empty(n ast.Node, w calendar.Window) {
	if w.From == w.To || w.From == 24*60 {
		d.problem(start(n), "a window that ends where it begins", `leave from and to out for whole days, or write one from "20:00" to "08:00" for a night`)
	}
}

func (d *decoder) rate(dst *bandwidth.Rate) func(ast.Node) {
	return func(n ast.Node) {
		const form = "write bytes a second, like 5MB/s or 800kB/s; 8 Mbit/s are 1MB/s"
		r, ok := d.resolve(n)
		if !ok {
			return
		}
		if _, bare := r.(*ast.IntegerNode); bare {
			d.problem(n, "a rate without a unit", form)
			return
		}
		s, ok := d.text(r, "a rate like 5MB/s")
		if !ok {
			return
		}
		v, err := bandwidth.ParseRate(s)
		switch {
		case errors.Is(err, bandwidth.ErrSlow):
			d.problem(n, d.quote(n)+" is too slow for any copy to be made", "write 10kB/s or more, or leave it out for no limit")
		case err != nil:
			d.problem(n, d.quote(n)+" is not a rate", form)
		}
		*dst = v
	}
}

func (d *decoder) timeOfDay(dst *int) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, "a time of day")
		if !ok {
			return
		}
		v, err := calendar.ParseTime(s)
		if err != nil {
			d.problem(n, d.quote(n)+" is not a time of day", `write "08:00", up to "24:00"`)
			return
		}
		*dst = v
	}
}

// days decodes a day or a range of days, or a list of these.
func (d *decoder) days(dst *calendar.Days) func(ast.Node) {
	return func(n ast.Node) {
		words := []ast.Node{n}
		if r, ok := d.resolve(n); !ok {
			return
		} else if _, list := r.(*ast.SequenceNode); list {
			words = d.list(r, "a list of days")
		}
		var all calendar.Days
		for _, v := range words {
			s, ok := d.text(v, "days like mon-fri")
			if !ok {
				continue
			}
			one, err := calendar.ParseDays(s)
			if err != nil {
				d.problem(v, d.quote(v)+" is not a day", "write mon, mon-fri or [sat, sun], with mon tue wed thu fri sat sun")
			}
			for i := range all {
				all[i] = all[i] || one[i]
			}
		}
		*dst = all
	}
}

// zone decodes the name of a time zone.
func (d *decoder) zone(dst **time.Location) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		if filled(d, &s)(n); s == "" {
			return
		}
		zone, err := time.LoadLocation(s)
		if err != nil {
			d.problem(n, d.quote(n)+" is not a time zone", "write a name of the IANA database, such as Asia/Shanghai or UTC")
			return
		}
		*dst = zone
	}
}

// windowed reports whether bandwidth is a list; what else is wrong with it is told already.
func windowed(entries []entry) bool {
	return slices.ContainsFunc(entries, func(e entry) bool {
		_, text := e.value.(*ast.StringNode)
		return e.key == "bandwidth" && !text
	})
}
