package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/crypto"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// restoreRow is the result of a restore in JSON.
type restoreRow struct {
	Snapshot snapshotRow  `json:"snapshot"`
	From     string       `json:"from_target"`
	To       string       `json:"to,omitempty"`
	Plan     restore.Plan `json:"plan"`
	Duration int64        `json:"duration_ms,omitempty"`

	reuse bool
}

func (a *app) restore() *cobra.Command {
	var x access
	var to, at string
	var dry, start, before, reuse, yes bool
	var o engineOptions
	var timeline uint64
	c := &cobra.Command{
		Use:   "restore SOURCE --to DIR",
		Short: "Bring a source back into an empty directory",
		Long: "Brings a source back into an empty directory; with --reuse into one that holds another state of it, damaged or not, where only what\n" +
			"differs is fetched and written, and what is not in the snapshot is removed. Its server must be stopped. Until such a restore is complete\n" +
			"no server can use the directory; one that died is repeated with --reuse.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a.unlimited = true // who restores is in a hurry
			point, err := restore.ParsePoint(at)
			if err != nil {
				return usageError{err}
			}
			if to == "" && reuse {
				return usagef("reuse what? --to DIR names the directory that holds another state of %s", args[0])
			}
			if to == "" && !dry {
				return usagef("where to? --to DIR names a new or empty directory; --dry-run only plans")
			}
			if _, err := a.identities(x); err != nil {
				return err
			}
			if err := a.outside(x, to); err != nil && !dry {
				return err
			}
			name, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			if err := a.unlock(c.Context(), x, r, true); err != nil {
				return err
			}
			if r.IndexLost != nil {
				a.note("lifeboat: warning: %s: %v: the index was made anew from the packs; run `lifeboat check`", name, r.IndexLost)
			}
			point.Before, point.Line = before, timeline
			s, replay, err := a.choose(c.Context(), r, args[0], point)
			for try := 0; errors.Is(err, fs.ErrNotExist) && try < relists; try++ {
				s, replay, err = a.choose(c.Context(), r, args[0], point)
			}
			if err != nil {
				return err
			}
			a.way(args[0], replay, point)
			row := restoreRow{Snapshot: snapshotJSON(s, map[string]string{name: "complete"}), From: name, To: to, reuse: reuse}
			tree, err := r.TreeOf(c.Context(), s.SnapshotBody)
			if err != nil {
				return err
			}
			job := restore.Job{Tree: tree, Frames: r.Frames, IDs: r.IDs}
			if dry && !reuse {
				row.Plan, err = restore.DryRun(c.Context(), job)
				return errors.Join(err, a.planned(row))
			}
			engine, err := a.engine(c.Context(), goal{tree, to, start, reuse, replay, o})
			if err != nil {
				return err
			}
			sink, err := engine.sink(tree.Root.Size)
			if err != nil {
				return err
			}
			if reuse {
				job.Reuse = sink
			}
			if dry {
				row.Plan, err = restore.DryRun(c.Context(), job)
				return errors.Join(err, sink.Close(), a.planned(row))
			}
			if reuse {
				if err := a.confirm(yes, fmt.Sprintf("Overwrite what is in %s with %s of %s, and remove what is not in it?", to, row.Snapshot.ID, args[0])); err != nil {
					return errors.Join(err, sink.Close())
				}
			}
			begin := a.now()
			if row.Plan, err = a.bring(c.Context(), job, sink, tree.Root.Size); err != nil {
				return err
			}
			row.Duration = a.now().Sub(begin).Milliseconds()
			if err := a.restored(row); err != nil || !start {
				return err
			}
			return engine.start(c.Context())
		},
	}
	x.flags(c)
	f := c.Flags()
	f.StringVar(&to, "to", "", "`DIR` to restore into: new or empty")
	f.BoolVar(&reuse, "reuse", false, "restore over another state of the source in DIR, and write only what differs")
	f.BoolVar(&yes, "yes", false, "do not ask before --reuse overwrites")
	f.StringVar(&at, "at", "latest", "`POINT`: latest, a time with a zone, snapshot:ID, lsn:POSITION, xid:NUMBER or name:RESTORE-POINT")
	f.BoolVar(&before, "before", false, "leave out the transaction that the point names")
	f.Uint64Var(&timeline, "timeline", 0, "`N` is the timeline of the log that the restore ends in (default: the newest that leads to the point)")
	f.BoolVar(&dry, "dry-run", false, "show what would be done, and do nothing")
	f.BoolVar(&start, "start", false, "start the restored database with its engine, or have it checked by it")
	o.flags(f)
	return a.jsonFlag(c)
}

// relists is how often the log is listed again where a stream replaces objects meanwhile.
const relists = 5

// choose plans the way to a point.
func (a *app) choose(ctx context.Context, r *repository.Reader, source string, p restore.Point) (s repository.Snapshot, replay *restore.Replay, err error) {
	list, err := a.snapshotsOf(ctx, r, source)
	if err != nil {
		return s, nil, err
	}
	logs := restore.Logs{}
	var all []restore.Candidate
	for _, s := range list {
		c := restore.Candidate{Seq: s.Seq, Taken: s.Taken, Log: s.Log}
		var err1, err2 error
		c.From, err1 = snapshot.ParsePos(s.From)
		c.To, err2 = snapshot.ParsePos(s.To)
		if err := errors.Join(err1, err2); err != nil {
			return s, nil, fmt.Errorf("snapshot %s: %w: %w", restore.FormatID(s.Seq), crypto.ErrDamaged, err)
		}
		all = append(all, c)
		if _, ok := logs[s.Log]; !ok {
			if logs[s.Log], err = r.Log(ctx, source, s.Log); err != nil {
				return s, nil, err
			}
		}
	}
	if replay, err = restore.PlanReplay(ctx, all, logs, p); err != nil {
		return s, nil, fmt.Errorf("restore %s: %w", source, err)
	}
	for _, s := range list {
		if s.Seq == replay.Snapshot.Seq {
			return s, replay, nil
		}
	}
	return s, nil, errors.New("the chosen snapshot is gone")
}

// way says what a restore will bring back, where it is not exactly what was asked for.
func (a *app) way(source string, r *restore.Replay, p restore.Point) {
	id := restore.FormatID(r.Snapshot.Seq)
	if len(r.Log) == 0 {
		if !p.Time.IsZero() {
			a.note("%s has no log, only snapshots: using %s, taken %s, %s before the time asked for", source, id,
				r.Snapshot.Taken.UTC().Format(restore.Time), p.Time.Sub(r.Snapshot.Taken).Round(time.Millisecond))
		}
		return
	}
	a.note("%s and the log behind it, in timeline %d", id, r.End.Line)
	tell := func(what string, e *snapshot.LogEvent) {
		if e != nil {
			a.note("%s: %s, of %s", what, e.ID, e.Time.UTC().Format(restore.Time))
		}
	}
	tell("the last transaction restored", r.Last)
	tell("the first one left out", r.Left)
}

func (a *app) bring(ctx context.Context, job restore.Job, sink sink, size int64) (plan restore.Plan, err error) {
	defer func() { err = errors.Join(err, sink.Close()) }()
	job.Sink, job.SpillDir = sink, sink.Work()
	p := a.progress("restore")
	if job.Reuse == nil {
		p.start(size)
	} else {
		compare := a.progress("compare")
		compare.start(size)
		defer compare.done()
		job.Compared, job.Planned = compare.add, func(plan restore.Plan) {
			compare.done()
			p.start(plan.Data - plan.Reused)
		}
	}
	defer p.done()
	job.Progress = p.add
	plan, err = restore.Run(ctx, job)
	if err != nil {
		return plan, fmt.Errorf("restore: %w", err)
	}
	return plan, nil
}

func (a *app) planned(row restoreRow) error {
	if a.json {
		return a.printJSON(row)
	}
	p := row.Plan
	if _, err := fmt.Fprintf(a.out, "would restore %s of %s, taken %s\n  files      %d, %s\n  to fetch   %s in %s and %s, from %s\n",
		row.Snapshot.ID, row.Snapshot.Source, row.Snapshot.Taken.UTC().Format(restore.Time), p.Files, humanize.IBytes(uint64(p.Size)),
		humanize.IBytes(uint64(p.Fetch)), english.Plural(p.Frames, "frame", ""), english.Plural(p.Packs, "pack", ""), row.From); err != nil || !row.reuse {
		return err
	}
	_, err := fmt.Fprintf(a.out, "  to reuse   %s of %s; %s is fetched because it cannot be compared\n  to remove  %s not in the snapshot\n", humanize.IBytes(uint64(p.Reused)),
		humanize.IBytes(uint64(p.Data)), humanize.IBytes(uint64(p.Pieces)), english.Plural(p.Removed, "file", ""))
	return err
}

func (a *app) restored(row restoreRow) error {
	if a.json {
		return a.printJSON(row)
	}
	d := time.Duration(row.Duration) * time.Millisecond
	_, err := fmt.Fprintf(a.out, "restored %s of %s (taken %s) to %s: %s in %s\n", row.Snapshot.ID, row.Snapshot.Source,
		row.Snapshot.Taken.UTC().Format(restore.Time), row.To, humanize.IBytes(uint64(row.Plan.Size)), d.Round(10*time.Millisecond))
	if err == nil && row.reuse {
		_, err = fmt.Fprintf(a.out, "%s were there already, %s fetched; %s not in the snapshot removed\n", humanize.IBytes(uint64(row.Plan.Reused)), humanize.IBytes(uint64(row.Plan.Fetch)), english.Plural(row.Plan.Removed, "file", ""))
	}
	return err
}
