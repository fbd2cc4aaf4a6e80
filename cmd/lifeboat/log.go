package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/source/mysql"
)

// logTime shows every digit that a server has: what is shown can be given to --at.
const logTime = "2006-01-02T15:04:05.000000Z07:00"

// logRow is an event of a captured log in JSON.
type logRow struct {
	Event    string         `json:"event"` // commit, abort, restore_point, timeline or gap
	Time     *time.Time     `json:"time,omitempty"`
	History  uint64         `json:"history,omitempty"` // another one begins where another database stands there
	Timeline uint64         `json:"timeline,omitempty"`
	XID      string         `json:"xid,omitempty"`
	GTID     string         `json:"gtid,omitempty"`
	Name     string         `json:"name,omitempty"`
	Start    string         `json:"start"`
	End      string         `json:"end"`
	Log      uint64         `json:"log_bytes,omitempty"`
	Changes  []mysql.Change `json:"changes,omitempty"`
	Parent   uint64         `json:"parent_timeline,omitempty"`
	Until    uint64         `json:"end_timeline,omitempty"` // of a gap that ends in another timeline
	Reason   string         `json:"reason,omitempty"`

	engine config.Engine
}

// logging is what a listing is of.
type logging struct {
	engine       config.Engine
	since, until time.Time
	table        string // empty: all
}

func (a *app) log() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "The captured log of a source", Args: cobra.NoArgs}
	c.AddCommand(a.logShow())
	return c
}

func (a *app) logShow() *cobra.Command {
	var x access
	var since, until, table string
	c := &cobra.Command{
		Use:   "show SOURCE",
		Short: "List the transactions and restore points of the captured log",
		Long: "Lists every transaction and restore point of the captured log once, in the order of the log: each is a point for `restore --at`. " +
			"LSN, or POSITION, is where its record ends: --at lsn:LSN or --at binlog:POSITION brings back all up to it, and it. LOG is how much log there is behind the one before it: its own changes, and, in PostgreSQL's, " +
			"those that others made meanwhile. CHANGES are the rows that a transaction of MariaDB inserted (+), updated (~) and deleted (-) per table; ? is not known, and of a statement, such as one that defines something, only the database that it was given in is. " +
			"Gaps, where no log was captured, and places where another timeline begins have lines of their own. The times of MariaDB are seconds, in which the transaction's last statement began.\n\n" +
			"--json prints an array of objects: event (commit, abort, restore_point, timeline or gap), time, timeline, history (counted from 0, where another database came to stand there), xid, gtid or name, start and end (LSNs or positions), log_bytes, " +
			"changes (table, inserted, updated, deleted: rows, -1 not known; or statement true and its database); " +
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
			l := logging{since: from, until: to, table: table}
			if len(list) > 0 {
				l.engine = config.Engine(list[0].Engine)
			}
			if table != "" && l.engine != config.MySQL {
				return usagef("--table is for MariaDB: the log of %s does not name tables", args[0])
			}
			out := bufio.NewWriter(a.out)
			return errors.Join(a.logRows(out, l, a.logEntries(c.Context(), r, args[0], list, l)), out.Flush())
		},
	}
	x.flags(c)
	f := c.Flags()
	f.StringVar(&since, "since", "", "only from this `TIME` on, with a zone, such as 2026-11-20T14:03:22+08:00")
	f.StringVar(&until, "until", "", "only up to this `TIME`")
	f.StringVar(&table, "table", "", "only transactions that may have changed this `TABLE`, with or without its database (MariaDB)")
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
func (a *app) logEntries(ctx context.Context, r *repository.Reader, source string, list []repository.Snapshot, l logging) iter.Seq2[logRow, error] {
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
			for e, err := range restore.History(ctx, open, l.since, l.until) {
				if err != nil {
					yield(logRow{}, err)
					return
				}
				row := newLogRow(e, l.engine, reasons)
				if row.History = n; row.concerns(l.table) && !yield(row, nil) {
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
func (a *app) logRows(w io.Writer, l logging, rows iter.Seq2[logRow, error]) error {
	begin, between, end, row := "TIME                         XID         LSN             LOG       TIMELINE  EVENT\n", "", "", logText
	if l.engine == config.MySQL {
		begin = "TIME                  GTID            POSITION           LOG       CHANGES\n"
	}
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

func newLogRow(e restore.Entry, engine config.Engine, reasons map[string]string) logRow {
	r := logRow{engine: engine, Timeline: e.From.Line, Start: positionText(engine, e.From), End: positionText(engine, e.To), Log: e.Log}
	if engine == config.MySQL {
		if r.Log = 0; e.Event != nil {
			r.Log = e.To.Offset - e.From.Offset // transactions stand one behind the other
		}
	}
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
		if engine == config.MySQL {
			r.XID, r.GTID, r.Changes = "", e.Event.ID, mysql.ParseNote(e.Event.Note)
		}
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

// concerns reports whether an event may have to do with a table.
func (r logRow) concerns(table string) bool {
	if table == "" || r.Event == "gap" {
		return true
	}
	database, name, qualified := strings.Cut(table, ".")
	return len(r.Changes) == 0 || slices.ContainsFunc(r.Changes, func(c mysql.Change) bool {
		switch {
		case c.Table == table, c.Table == "" && !c.Statement:
			return true
		case c.Statement: // which may name another database than that which it was given in
			return true
		case qualified && name != "" && database != "":
			return false
		}
		_, own, _ := strings.Cut(c.Table, ".")
		return own == table
	})
}

// positionText is a position as an engine and --at write it.
func positionText(engine config.Engine, p snapshot.Pos) string {
	if engine == config.MySQL {
		return strings.TrimPrefix(snapshot.FormatBinlog(p.Offset), "binlog:")
	}
	return fmt.Sprintf("%X/%X", p.Offset>>32, uint32(p.Offset))
}

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
	if r.engine == config.MySQL && r.Event == "commit" {
		what = changesText(r.Changes)
	}
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
	if r.engine == config.MySQL {
		if r.Time != nil {
			at = r.Time.Format(time.RFC3339)
		}
		if r.GTID != "" {
			xid = clean(r.GTID)
		}
		return fmt.Sprintf("%-20s  %-14s  %-17s  %-8s  %s\n", at, xid, lsn, size, what), nil
	}
	return fmt.Sprintf("%-27s  %-10s  %-14s  %-8s  %-8d  %s\n", at, xid, lsn, size, r.Timeline, what), nil
}

// changesText is what a transaction changed, in a line.
func changesText(all []mysql.Change) string {
	var out []string
	for _, c := range all {
		text := c.Table
		switch {
		case c.Statement && c.Database == "":
			text = "a statement"
		case c.Statement:
			text = "a statement in " + c.Database
		case c.Table == "":
			text = "others"
		}
		text = clean(text)
		for _, n := range []struct {
			sign  string
			count int64
		}{{"+", c.Inserted}, {"~", c.Updated}, {"-", c.Deleted}} {
			switch {
			case n.count > 0:
				text += fmt.Sprintf(" %s%d", n.sign, n.count)
			case n.count < 0:
				text += " " + n.sign + "?"
			}
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "nothing in tables"
	}
	return strings.Join(out, ", ")
}
