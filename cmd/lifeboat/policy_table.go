package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"lifeboat/policies"
)

// showPlan shows a line for each day, and the sums.
func (a *app) showPlan(r *planReport) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DAY\tFULL\tINCREMENTAL\tDROPPED\tKEPT\tOLDEST\tEVERY SECOND SINCE\tSIZE")
	full, incremental, dropped := 0, 0, 0
	for i, d := range r.days {
		full, incremental, dropped = full+len(d.Full), incremental+len(d.Incremental), dropped+d.Dropped
		fmt.Fprintln(w, strings.Join(dayCells(d, r.Total[i].Bytes), "\t"))
	}
	if n := len(r.days); n > 0 {
		fmt.Fprintf(w, "%d days\t%d\t%d\t%d\t%d\t\t\t%s\n", n, full, incremental, dropped, r.days[n-1].Total, sizeText(r.Total[n-1].Bytes))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Sources) == 0 {
		fmt.Fprintln(a.out, "no source is in a policy: nothing runs by itself")
	}
	for _, s := range r.Sources {
		if s.Known {
			fmt.Fprintf(a.out, "%s (policy %s): %s there, a full takes %s, an increment %s, log %s a day\n", s.Source, s.Policy, english.Plural(s.Snapshots, "snapshot", ""), sizeText(&s.Full), sizeText(&s.Increment), sizeText(&s.LogPerDay))
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(a.out, "note: %s\n", clean(n))
	}
	for _, s := range r.Assumed {
		fmt.Fprintf(a.out, "* %s\n", s)
	}
	return nil
}

// dayCells are a day's row of a table.
func dayCells(d policies.Day, bytes *int64) []string {
	return []string{d.Begin.Format("Mon 2006-01-02"), fmt.Sprint(len(d.Full)), fmt.Sprint(len(d.Incremental)), fmt.Sprint(d.Dropped), fmt.Sprint(d.Total),
		minuteText(d.Earliest, d), minuteText(d.EarliestPoint, d), sizeText(bytes)}
}

// minuteText is a time in the zone of a day, to the minute.
func minuteText(t time.Time, d policies.Day) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(d.Begin.Location()).Format("2006-01-02 15:04")
}

func sizeText(n *int64) string {
	if n == nil {
		return "-"
	}
	return humanize.IBytes(uint64(max(*n, 0)))
}
