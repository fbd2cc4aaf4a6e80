package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/capture"
	"lifeboat/chunkstore"
	"lifeboat/internal/phrase"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// snapshotRow is a snapshot in JSON.
type snapshotRow struct {
	ID       string            `json:"id"`
	Source   string            `json:"source"`
	Engine   string            `json:"engine"`
	Kind     string            `json:"kind"`
	Taken    time.Time         `json:"taken"`
	From     string            `json:"from"`
	To       string            `json:"to"`
	Size     int64             `json:"size"`
	Read     int64             `json:"bytes_read"`
	Stored   int64             `json:"bytes_stored"`
	Changed  int64             `json:"bytes_changed"`
	New      int64             `json:"bytes_new"`
	Content  int64             `json:"bytes_content"`
	Duration int64             `json:"duration_ms"`
	Reads    float64           `json:"read_amplification"`
	Copies   map[string]string `json:"copies"`
}

func snapshotJSON(s repository.Snapshot, copies map[string]string) snapshotRow {
	return snapshotRow{restore.FormatID(s.Seq), s.Name, s.Engine, s.Kind, s.Taken, s.From, s.To, s.Size, s.Read, s.Stored, s.Changed, s.New, s.Content, s.Duration, s.Amplification, copies}
}

func (a *app) snapshots() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "snapshots [SOURCE]",
		Short: "List what can be restored",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, list, err := a.list(c.Context(), x, args)
			if err != nil {
				return err
			}
			rows := []snapshotRow{}
			positions := a.positions(c.Context(), x, r)
			for _, s := range list {
				rows = append(rows, snapshotJSON(s, copyStates(positions, s.Seq)))
			}
			if a.json {
				return a.printJSON(rows)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSOURCE\tTAKEN\tKIND\tSIZE\tSTORED\tCOPIES")
			for _, r := range rows {
				complete := 0
				for _, state := range r.Copies {
					if state == "complete" {
						complete++
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\n", r.ID, r.Source, r.Taken.UTC().Format(restore.Time), r.Kind,
					humanize.IBytes(uint64(r.Size)), humanize.IBytes(uint64(r.Stored)), complete, len(r.Copies))
			}
			return w.Flush()
		},
	}
	x.flags(c)
	return a.jsonFlag(c)
}

// list opens a copy and lists its snapshots, of one source where args names it.
func (a *app) list(ctx context.Context, x access, args []string) (*repository.Reader, []repository.Snapshot, error) {
	_, r, err := a.reader(ctx, x)
	if err != nil {
		return nil, nil, err
	}
	if err := a.unlock(ctx, x, r, false); err != nil {
		return nil, nil, err
	}
	source := ""
	if len(args) > 0 {
		source = args[0]
	}
	list, err := a.snapshotsOf(ctx, r, source)
	return r, list, err
}

// snapshotsOf lists the snapshots of one source, or of all where source is empty. A source that has none and is not
// configured either is refused.
func (a *app) snapshotsOf(ctx context.Context, r *repository.Reader, source string) ([]repository.Snapshot, error) {
	list, err := r.Snapshots(ctx, source)
	if err != nil || len(list) > 0 || source == "" {
		return list, err
	}
	if cfg, err := a.config(); err == nil {
		if _, ok := cfg.Source(source); ok {
			return nil, nil
		}
	}
	all, err := r.Snapshots(ctx, "")
	if err != nil {
		return nil, err
	}
	var have []string
	for _, s := range all {
		if !slices.Contains(have, s.Name) {
			have = append(have, s.Name)
		}
	}
	return nil, fmt.Errorf("%w: there is no source %q here; it has snapshots of: %s", restore.ErrRefused, source, strings.Join(have, ", "))
}

// positions finds out how far each copy is, of all at once, and whether it is one of the same repository; from a URL there is only the one.
func (a *app) positions(ctx context.Context, x access, r *repository.Reader) []*repository.Copy {
	copies, err := a.readable(ctx, "")
	if err != nil || x.from != "" {
		copies, err = a.locate(ctx, x)
		if err != nil {
			return []*repository.Copy{{Name: x.from, Err: err}}
		}
	}
	ref := r.Chain.Entries()
	readers, errs := openAll(ctx, copies)
	for i, c := range copies {
		if c.Err = errs[i]; c.Err == nil {
			c.Err = readers[i].Broken
		}
		if c.Err != nil {
			continue
		}
		chain := readers[i].Chain
		c.Position = chain.Len()
		if x.from == "" {
			c.Damaged = len(repository.LastCheck(a.cfg.StateDir, c.Name).Damaged)
		}
		if n := min(chain.Len(), r.Chain.Len()); n > 0 && !bytes.Equal(chain.Entries()[n-1].Raw, ref[n-1].Raw) {
			c.Position, c.Err = 0, fmt.Errorf("%w: its journal is not that of the other copies: somebody else wrote it, or it is of another repository", repository.ErrNoRepository)
		}
	}
	return copies
}

// windowRow is the reach of one source in JSON.
type windowRow struct {
	Source   string    `json:"source"`
	Earliest time.Time `json:"earliest"`
	Latest   time.Time `json:"latest"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Gaps     []gap     `json:"gaps"`
}

type gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

func (a *app) window() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "window [SOURCE]",
		Short: "Show every interval that can be restored, and each gap with its reason",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, list, err := a.list(c.Context(), x, args)
			if err != nil {
				return err
			}
			rows, err := windowsAgain(c.Context(), r, list)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(rows)
			}
			for _, w := range rows {
				fmt.Fprintf(a.out, "%s: from %s to %s\n", w.Source, w.Earliest.UTC().Format(restore.Time), w.Latest.UTC().Format(restore.Time))
				byReason := w.reasons()
				for _, reason := range slices.Sorted(maps.Keys(byReason)) {
					gaps := byReason[reason]
					fmt.Fprintf(a.out, "  %s, the longest of %s: %s\n", english.Plural(len(gaps), "gap", ""), longest(gaps).Round(time.Second), reason)
				}
			}
			return nil
		},
	}
	x.flags(c)
	return a.jsonFlag(c)
}

// reaches finds out how far the log goes on from a snapshot.
type reaches struct {
	r    *repository.Reader
	logs map[logOf]restore.Log
}

// logOf is a log of a source.
type logOf struct {
	source string
	number uint64
}

// from returns the end of the log that goes on from a snapshot without a gap, and the time it covers; the snapshot's own where
// there is none.
func (l *reaches) from(ctx context.Context, s repository.Snapshot) (to snapshot.Pos, until time.Time, err error) {
	if to, err = snapshot.ParsePos(s.To); err != nil || to.IsZero() {
		return to, s.Taken, err
	}
	of := logOf{s.Name, s.Log}
	log, ok := l.logs[of]
	if !ok {
		if log, err = l.r.Log(ctx, s.Name, s.Log); err != nil {
			return to, s.Taken, err
		}
		l.logs[of] = log
	}
	for {
		cover := capture.Cover(log.Objects, to)
		if len(cover) == 0 {
			return to, s.Taken, nil
		}
		last := cover[len(cover)-1]
		until, err := log.Until(ctx, last)
		if chunkstore.Damaged(err) && !errors.Is(err, fs.ErrNotExist) { // it leads nowhere, and a check names it
			log.Objects = slices.DeleteFunc(slices.Clone(log.Objects), func(o capture.Object) bool { return o == last })
			l.logs[of] = log
			continue
		}
		if err != nil {
			return to, s.Taken, err
		}
		if until.Before(s.Taken) {
			until = s.Taken
		}
		return last.To, until, nil
	}
}

// hole is the gap between the end of what leads on from the newest snapshot and log behind it, if there is one.
func (l *reaches) hole(ctx context.Context, of logOf, to snapshot.Pos, until time.Time) (*gap, error) {
	log := l.logs[of]
	on, ok := log.Behind(to)
	if !ok {
		return nil, nil
	}
	g := &gap{until, until, "log behind here is missing or damaged: points behind it can be reached again from a new backup on"}
	for _, o := range log.Objects {
		if o.From != on {
			continue
		}
		h, _, err := log.Reader.Header(ctx, o)
		if chunkstore.Damaged(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if h.Until.After(g.To) {
			g.To = h.Until
		}
	}
	return g, nil
}

// windowsAgain is windows, which it repeats where a log was listed while it changed.
func windowsAgain(ctx context.Context, r *repository.Reader, list []repository.Snapshot) (rows []windowRow, err error) {
	for try := 0; try <= relists; try++ {
		if rows, err = windows(ctx, list, &reaches{r: r, logs: map[logOf]restore.Log{}}); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return rows, err
}

// windows groups snapshots by source. There is a gap between any two of them that no log connects.
func windows(ctx context.Context, list []repository.Snapshot, logs *reaches) ([]windowRow, error) {
	rows := []windowRow{}
	at := map[string]int{}
	type end struct {
		to    snapshot.Pos
		until time.Time
		log   uint64
	}
	last := map[string]end{}
	for _, s := range list {
		to, until, err := logs.from(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", restore.FormatID(s.Seq), err)
		}
		i, ok := at[s.Name]
		if !ok {
			at[s.Name], last[s.Name] = len(rows), end{to, until, s.Log}
			rows = append(rows, windowRow{s.Name, s.Taken, until, s.From, to.String(), []gap{}})
			continue
		}
		w, before := &rows[i], last[s.Name]
		begin, err := snapshot.ParsePos(s.To)
		if err != nil {
			return nil, err
		}
		if order, ok := before.to.Compare(begin); s.Log != before.log || before.to.IsZero() || !ok || order < 0 {
			reason := "no log is captured: a time in here means the snapshot at its beginning"
			switch {
			case s.Log != before.log:
				reason = phrase.GapOther.Say()
			case logs.r.LogDropped(s.Name, s.Log):
				reason = phrase.GapDropped.Say()
			case len(logs.logs[logOf{s.Name, s.Log}].Objects) > 0:
				reason = phrase.GapNotCaptured.Say()
			}
			if s.Taken.Before(before.until) {
				reason = phrase.GapClock.Say()
			}
			w.Gaps = append(w.Gaps, gap{before.until, s.Taken, reason})
		}
		w.To = to.String()
		if s.Taken.Before(w.Earliest) {
			w.Earliest = s.Taken
		}
		if until.After(w.Latest) {
			w.Latest = until
		}
		last[s.Name] = end{to, until, s.Log}
	}
	for i := range rows {
		e := last[rows[i].Source]
		g, err := logs.hole(ctx, logOf{rows[i].Source, e.log}, e.to, e.until)
		if err != nil {
			return nil, err
		}
		if g != nil {
			rows[i].Gaps = append(rows[i].Gaps, *g)
		}
	}
	return rows, nil
}

// reasons groups the gaps by reason.
func (w windowRow) reasons() map[string][]gap {
	out := map[string][]gap{}
	for _, g := range w.Gaps {
		out[g.Reason] = append(out[g.Reason], g)
	}
	return out
}

func longest(gaps []gap) (d time.Duration) {
	for _, g := range gaps {
		d = max(d, g.To.Sub(g.From).Abs())
	}
	return d
}
