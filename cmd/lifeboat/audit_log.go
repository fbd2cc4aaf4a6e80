package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/journal"
	"lifeboat/restore"
)

// auditRow is a record in JSON.
type auditRow struct {
	Seq      uint64     `json:"seq"`
	Time     time.Time  `json:"time"`                        // when it was recorded
	Happened *time.Time `json:"happened,omitempty"`          // where it was noted before that,
	Delay    int64      `json:"recorded_after_ms,omitempty"` // and by how long
	By       string     `json:"by"`
	From     string     `json:"from,omitempty"`
	Host     string     `json:"host,omitempty"` // drill host from whose journal it was entered
	Action   string     `json:"action"`
	Object   string     `json:"object,omitempty"`
	Result   string     `json:"result"`
	Reason   string     `json:"reason,omitempty"`
	Hash     string     `json:"sha256"`
}

// auditFilter picks records.
type auditFilter struct {
	by, source   string
	since, until string
	actions      []string

	from, to time.Time
}

func (a *app) auditLog() *cobra.Command {
	var x access
	var f auditFilter
	c := &cobra.Command{
		Use:   "log",
		Short: "Who did what, when, from where, why, and what came of it",
		Long: "Shows the records of the journal: who did what, when, from where, why, and what came of it. What was noted before it could be recorded shows when it happened.\n" +
			"Names of sources and policies show on the backup host and with an identity; elsewhere, what stands for them.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.parse(); err != nil {
				return err
			}
			_, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			names, err := a.auditNames(c.Context(), x, r)
			if err != nil {
				return err
			}
			if f.source != "" {
				if names.hasher == nil {
					return names.unknown(f.source)
				}
				names.add(f.source) // it may be in the configuration no more
			}
			rows := []auditRow{}
			for _, e := range r.Chain.Entries() {
				if f.picks(names, e) {
					rows = append(rows, auditJSON(names, e))
				}
			}
			if a.json {
				return a.printJSON(rows)
			}
			return a.auditTable(rows)
		},
	}
	x.flags(c)
	flags := c.Flags()
	flags.StringVar(&f.by, "by", "", "only records by this `PERSON`, or part of a name")
	flags.StringVar(&f.since, "since", "", "only what happened at this `TIME` or later")
	flags.StringVar(&f.until, "until", "", "only what happened at this `TIME` or earlier")
	flags.StringSliceVar(&f.actions, "action", nil, "only these `ACTIONS`, such as snapshot,drop")
	flags.StringVar(&f.source, "source", "", "only what concerns the source of this `NAME`")
	return a.jsonFlag(c)
}

// parse reads what was asked for.
func (f *auditFilter) parse() (err error) {
	if f.from, err = auditTime("--since", f.since); err != nil {
		return err
	}
	if f.to, err = auditTime("--until", f.until); err != nil {
		return err
	}
	for _, action := range f.actions {
		if !slices.Contains(journal.Types, journal.Type(action)) {
			return usagef("--action %q: it is one of %s", action, join(journal.Types))
		}
	}
	return nil
}

func auditTime(flag, s string) (t time.Time, err error) {
	if s == "" {
		return t, nil
	}
	p, err := restore.ParsePoint(s)
	if err != nil || p.Time.IsZero() {
		return t, usagef("%s %q: expected a time with a zone, such as 2026-11-20T00:00:00Z", flag, s)
	}
	return p.Time, nil
}

func join(types []journal.Type) string {
	var out []string
	for _, t := range types {
		out = append(out, string(t))
	}
	return strings.Join(out, ", ")
}

func (f *auditFilter) picks(names *auditNames, e journal.Entry) bool {
	switch {
	case e.Time.Before(f.from), !f.to.IsZero() && e.When().After(f.to), !strings.Contains(e.By, f.by):
		return false
	case len(f.actions) > 0 && !slices.Contains(f.actions, string(e.Type)):
		return false
	}
	return f.source == "" || slices.Contains(names.of(e), f.source)
}

func auditJSON(names *auditNames, e journal.Entry) auditRow {
	row := auditRow{Seq: e.Seq, Time: e.Time, Happened: e.Happened, By: e.By, From: e.From, Action: string(e.Type), Object: names.object(e), Result: result(e), Reason: e.Reason, Hash: journal.Hash(e.Raw)}
	if e.Via != nil {
		row.Host = string(e.Via.Host)
	}
	if e.Happened != nil {
		row.Delay = e.Time.Sub(*e.Happened).Milliseconds()
	}
	return row
}

// result is what came of it. What stands in the journal is done, unless it says something else.
func result(e journal.Entry) string {
	switch {
	case e.Drill != nil:
		return clean(e.Drill.Result)
	case e.Restore != nil:
		return clean(e.Restore.Result)
	case e.Denied != nil:
		return "refused"
	case e.Log != nil && e.Log.Gap != "":
		return "gap"
	}
	return "done"
}

func (a *app) auditTable(rows []auditRow) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RECORD\tTIME\tBY\tFROM\tACTION\tOBJECT\tRESULT\tREASON")
	for _, r := range rows {
		at := r.Time
		if r.Happened != nil && r.Happened.Before(at) {
			at = *r.Happened
		}
		from := cmp.Or(clean(r.From), "-")
		if r.Host != "" {
			from += " on " + r.Host
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Seq, at.UTC().Format(time.RFC3339), clean(r.By), from, clean(r.Action), r.Object, r.Result, clean(r.Reason))
	}
	return w.Flush()
}
