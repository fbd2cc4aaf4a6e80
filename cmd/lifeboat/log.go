package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// logTime shows every digit that a server has: what is shown can be given to --at.
const logTime = "2006-01-02T15:04:05.000000Z07:00"

// logRow is an event of a captured log in JSON.
type logRow struct {
	Event    string     `json:"event"` // commit, abort, restore_point, timeline or gap
	Time     *time.Time `json:"time,omitempty"`
	History  uint64     `json:"history,omitempty"` // another one begins where another database stands there
	Timeline uint64     `json:"timeline"`
	XID      string     `json:"xid,omitempty"`
	Name     string     `json:"name,omitempty"`
	Start    string     `json:"start"`
	End      string     `json:"end"`
	Log      uint64     `json:"log_bytes,omitempty"`
	Parent   uint64     `json:"parent_timeline,omitempty"`
	Until    uint64     `json:"end_timeline,omitempty"` // of a gap that ends in another timeline
	Reason   string     `json:"reason,omitempty"`
}

func (a *app) log() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "The captured log of a source", Args: cobra.NoArgs}
	c.AddCommand(a.logShow())
	return c
}

func (a *app) logShow() *cobra.Command {
	var x access
	var since, until string
	c := &cobra.Command{
		Use:   "show SOURCE",
		Short: "List the transactions and restore points of the captured log",
		Long: "Lists every transaction and restore point of the captured log once, in the order of the log: each is a point for `restore --at`. " +
			"LSN is where its record ends: --at lsn:LSN brings back all up to it, and it. LOG is how much log there is behind the one before it: its own changes, and " +
			"those that others made meanwhile. Gaps, where no log was captured, and places where another timeline begins have lines of their own.\n\n" +
			"--json prints an array of objects: event (commit, abort, restore_point, timeline or gap), time, timeline, history (counted from 0, where another database came to stand there), xid or name, start and end (LSNs), log_bytes; " +
			"parent_timeline where a timeline begins; reason, and end_timeline where it differs, of a gap. What is not known is left out.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := moment("--since", since)
			if err != nil {
				return err
			}
			to, err := moment("--until", until)
			if err != nil {
				return err
			}
			if !to.IsZero() && to.Before(from) {
				return usagef("--until %s is before --since %s", until, since)
			}
			r, list, err := a.list(c.Context(), x, args)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(a.out)
			return errors.Join(a.logRows(out, a.logEntries(c.Context(), r, args[0], list, from, to)), out.Flush())
		},
	}
	x.flags(c)
	f := c.Flags()
	f.StringVar(&since, "since", "", "only from this `TIME` on, with a zone, such as 2026-11-20T14:03:22+08:00")
	f.StringVar(&until, "until", "", "only up to this `TIME`")
	return a.jsonFlag(c)
}

// moment reads a time as --at takes it; empty is none.
func moment(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	p, err := restore.ParsePoint(s)
	if err != nil {
		return time.Time{}, usagef("%s: %w", flag, err)
	}
	if p.Time.IsZero() {
		return time.Time{}, usagef("%s %q: expected a time with a zone, such as 2026-11-20T14:03:22+08:00", flag, s)
	}
	return p.Time, nil
}

// logEntries yields the rows of every log of a source, one after another.
func (a *app) logEntries(ctx context.Context, r *repository.Reader, source string, list []repository.Snapshot, since, until time.Time) iter.Seq2[logRow, error] {
	return func(yield func(logRow, error) bool) {
		last := uint64(0)
		for _, s := range list {
			last = max(last, s.Log)
		}
		captured := 0
		for n := range last + 1 {
			open := func(ctx context.Context) (restore.Log, error) { return r.Log(ctx, source, n) }
			log, err := open(ctx)
			if err != nil {
				yield(logRow{}, err)
				return
			}
			captured += len(log.Objects)
			reasons := gapReasons(r, log)
			for e, err := range restore.History(ctx, open, since, until) {
				row := newLogRow(e, reasons)
				if row.History = n; !yield(row, err) || err != nil {
					return
				}
			}
		}
		if captured == 0 {
			a.note("no log of %s was captured: `lifeboat stream %s` does, where its engine has one", source, source)
		}
	}
}

// gapReasons is why there is no log from a position on, as far as the journal says.
func gapReasons(r *repository.Reader, log restore.Log) map[string]string {
	out := map[string]string{}
	for _, e := range r.Chain.Entries() {
		if e.Log != nil && e.Log.Gap != "" && len(log.Objects) > 0 && e.Log.Source == log.Objects[0].Source {
			out[e.Log.From] = e.Log.Gap
		}
	}
	return out
}

// logRows prints a log as it is read: it may have millions of rows.
func (a *app) logRows(w io.Writer, rows iter.Seq2[logRow, error]) error {
	begin, between, end, row := "TIME                         XID         LSN             LOG       TIMELINE  EVENT\n", "", "", logText
	if a.json {
		begin, between, end, row = "[", ",", "\n]\n", logJSON
	}
	if _, err := io.WriteString(w, begin); err != nil {
		return err
	}
	separator, history := "", uint64(0)
	for r, err := range rows {
		if err != nil {
			return err
		}
		text, err := row(r)
		if err != nil {
			return err
		}
		if r.History != history {
			a.note("history %d: from here on another database, or an older state of it, stands there", r.History)
			history = r.History
		}
		if _, err := io.WriteString(w, separator+text); err != nil {
			return err
		}
		separator = between
	}
	_, err := io.WriteString(w, end)
	return err
}

func newLogRow(e restore.Entry, reasons map[string]string) logRow {
	r := logRow{Timeline: e.From.Line, Start: lsnText(e.From), End: lsnText(e.To), Log: e.Log}
	if e.Event == nil {
		r.Event, r.Reason = "gap", reasons[e.From.String()]
		if r.Reason == "" {
			r.Reason = "the log was not captured"
		}
		if e.To.Line != e.From.Line {
			r.Until = e.To.Line
		}
		return r
	}
	switch e.Event.Kind {
	case snapshot.Commit, snapshot.Abort:
		r.Event, r.XID = string(e.Event.Kind), e.Event.ID
	case snapshot.Mark:
		r.Event, r.Name = "restore_point", e.Event.ID
	case snapshot.Branch:
		r.Event, r.Parent = "timeline", e.Parent
		return r
	}
	t := e.Event.Time.UTC()
	r.Time = &t
	return r
}

// lsnText is a position as PostgreSQL and --at write it.
func lsnText(p snapshot.Pos) string { return fmt.Sprintf("%X/%X", p.Offset>>32, uint32(p.Offset)) }

func logJSON(r logRow) (string, error) {
	b, err := json.Marshal(r)
	return "\n  " + string(b), err
}

func logText(r logRow) (string, error) {
	at, xid, size := "-", "-", "-"
	if r.Time != nil {
		at = r.Time.Format(logTime)
	}
	if r.XID != "" {
		xid = clean(r.XID)
	}
	if r.Log > 0 {
		size = humanize.IBytes(r.Log)
	}
	what, lsn := r.Event, r.End
	switch r.Event {
	case "restore_point":
		what = fmt.Sprintf("restore point %q", r.Name)
	case "timeline":
		what = fmt.Sprintf("timeline %d begins here, where it left timeline %d", r.Timeline, r.Parent)
	case "gap":
		lsn, what = r.Start, "gap up to "+r.End
		if r.Until != 0 {
			what += fmt.Sprintf(" of timeline %d", r.Until)
		}
		what += ": " + clean(r.Reason)
	}
	return fmt.Sprintf("%-27s  %-10s  %-14s  %-8s  %-8d  %s\n", at, xid, lsn, size, r.Timeline, what), nil
}
