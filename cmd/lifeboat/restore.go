package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/chunkstore"
	"lifeboat/config"
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

	reuse, verbose bool
}

// restoring is one call of restore.
type restoring struct {
	*app
	access
	engineOptions
	source, to, at                          string
	without                                 []string // snapshots
	dry, start, before, reuse, yes, verbose bool
	timeline                                uint64
}

func (a *app) restore() *cobra.Command {
	x := restoring{app: a}
	c := &cobra.Command{
		Use:   "restore SOURCE --to DIR",
		Short: "Bring a source back into an empty directory",
		Long: "Brings a source back into an empty directory; with --reuse into one that holds another state of it, damaged or not, where only what\n" +
			"differs is fetched and written, and what is not in the snapshot is removed. Its server must be stopped. Until such a restore is complete\n" +
			"no server can use the directory; one that died is repeated with --reuse. Where several targets are configured, whichever is fastest is\n" +
			"read, and another where one fails; --dry-run says what must stand on them.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			x.source, x.unlimited = args[0], true // who restores is in a hurry
			return x.run(c.Context())
		},
	}
	x.access.flags(c)
	f := c.Flags()
	f.StringVar(&x.to, "to", "", "`DIR` to restore into: new or empty")
	f.BoolVar(&x.reuse, "reuse", false, "restore over another state of the source in DIR, and write only what differs")
	f.BoolVar(&x.yes, "yes", false, "do not ask before --reuse overwrites")
	f.StringVar(&x.at, "at", "latest", "`POINT`: latest, a time with a zone, snapshot:ID; in a log of PostgreSQL lsn:POSITION, xid:NUMBER or name:RESTORE-POINT, of MariaDB gtid:GTID or binlog:FILE:POSITION")
	f.BoolVar(&x.before, "before", false, "leave out the transaction that the point names")
	f.StringSliceVar(&x.without, "without", nil, "leave out the snapshot `ID`, which is damaged: an older one and its log may lead to the point, too")
	f.Uint64Var(&x.timeline, "timeline", 0, "`N` is the timeline of the log that the restore ends in (default: the newest that leads to the point)")
	f.BoolVar(&x.dry, "dry-run", false, "show what would be done, and do nothing")
	f.BoolVarP(&x.verbose, "verbose", "v", false, "with --dry-run: name the packs")
	f.BoolVar(&x.start, "start", false, "start the restored database with its engine, or have it checked by it")
	x.engineOptions.flags(f)
	return a.jsonFlag(c)
}

func (x *restoring) run(ctx context.Context) error {
	point, err := x.point()
	if err != nil {
		return err
	}
	name, r, err := x.open(ctx)
	if err != nil {
		return err
	}
	s, replay, err := x.chooseAgain(ctx, r, point)
	if err != nil {
		return err
	}
	x.way(x.source, replay, point)
	return x.follow(ctx, name, r, s, replay)
}

// lost adds to an error of reading a snapshot what else may lead to the point.
func (x *restoring) lost(id string, err error) error {
	if !chunkstore.Damaged(err) || strings.HasPrefix(x.at, "snapshot:") {
		return err
	}
	return fmt.Errorf("%w; an older snapshot may lead there, too: repeat with --without %s", err, strings.Join(append(slices.Clone(x.without), id), ","))
}

// follow goes the way that was chosen.
func (x *restoring) follow(ctx context.Context, name string, r *repository.Reader, s repository.Snapshot, replay *restore.Replay) error {
	tree, err := r.TreeOf(ctx, s.SnapshotBody)
	if err != nil {
		return x.lost(restore.FormatID(s.Seq), err)
	}
	row := restoreRow{Snapshot: snapshotJSON(s, map[string]string{name: "complete"}), From: name, To: x.to, reuse: x.reuse, verbose: x.verbose}
	job := restore.Job{Tree: tree, Frames: r.Frames, Names: x.called, IDs: r.IDs}
	if x.dry && !x.reuse {
		return x.plan(ctx, row, job)
	}
	engine, err := x.engine(ctx, goal{tree, x.to, x.start, x.reuse, replay, x.engineOptions})
	if err != nil {
		return err
	}
	sink, err := engine.sink(tree.Root.Size)
	if err != nil {
		return err
	}
	if x.reuse {
		job.Reuse = sink
	}
	if x.dry {
		return errors.Join(x.plan(ctx, row, job), sink.Close())
	}
	return x.execute(ctx, r, row, job, engine, sink)
}

// point is where the restore is to lead, once what was asked for makes sense.
func (x *restoring) point() (restore.Point, error) {
	point, err := restore.ParsePoint(x.at)
	switch {
	case err != nil:
		return point, usageError{err}
	case x.to == "" && x.reuse:
		return point, usagef("reuse what? --to DIR names the directory that holds another state of %s", x.source)
	case x.to == "" && !x.dry:
		return point, usagef("where to? --to DIR names a new or empty directory; --dry-run only plans")
	}
	point.Before, point.Line = x.before, x.timeline
	return point, nil
}

// open opens the repository for reading content. The name is that of the copy whose journal is read.
func (x *restoring) open(ctx context.Context) (string, *repository.Reader, error) {
	if _, err := x.identities(x.access); err != nil {
		return "", nil, err
	}
	if err := x.outside(x.access, x.to); err != nil && !x.dry {
		return "", nil, err
	}
	name, r, err := x.reader(ctx, x.access)
	if err != nil {
		return "", nil, err
	}
	if err := x.unlock(ctx, x.access, r, true); err != nil {
		return "", nil, err
	}
	if r.IndexLost != nil {
		x.note("lifeboat: warning: %s: %v: the index was made anew from the packs; run `lifeboat check`", name, r.IndexLost)
	}
	return name, r, nil
}

// plan only says what would be done.
func (x *restoring) plan(ctx context.Context, row restoreRow, job restore.Job) (err error) {
	row.Plan, err = restore.DryRun(ctx, job)
	return errors.Join(x.lost(row.Snapshot.ID, err), x.planned(row))
}

// execute restores, and lets the engine start or check what came back.
func (x *restoring) execute(ctx context.Context, r *repository.Reader, row restoreRow, job restore.Job, engine *engine, sink sink) (err error) {
	if x.reuse {
		if err := x.confirm(x.yes, fmt.Sprintf("Overwrite what is in %s with %s of %s, and remove what is not in it?", x.to, row.Snapshot.ID, x.source)); err != nil {
			return errors.Join(err, sink.Close())
		}
	}
	seq, _ := restore.ParseID(row.Snapshot.ID) // which it was made of
	ended, begin := x.witness(ctx, r, seq), x.now()
	defer ended.recorded()
	row.Plan, err = x.bring(ctx, job, sink, job.Tree.Root.Size)
	ended.noted(err)
	if err != nil {
		return x.lost(row.Snapshot.ID, err)
	}
	row.Duration = x.now().Sub(begin).Milliseconds()
	err = x.restored(row)
	if err == nil && engine.tell != nil {
		err = engine.tell()
	}
	if err != nil || !x.start {
		return err
	}
	return engine.start(ctx)
}

// relists is how often the log is listed again where a stream replaces objects meanwhile.
const relists = 5

// chooseAgain is choose, which it repeats where the log was listed while it changed.
func (x *restoring) chooseAgain(ctx context.Context, r *repository.Reader, p restore.Point) (s repository.Snapshot, replay *restore.Replay, err error) {
	for try := 0; try <= relists; try++ {
		if s, replay, err = x.choose(ctx, r, p); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return s, replay, err
}

// choose plans the way to a point.
func (x *restoring) choose(ctx context.Context, r *repository.Reader, p restore.Point) (s repository.Snapshot, replay *restore.Replay, err error) {
	list, err := x.snapshotsOf(ctx, r, x.source)
	if err != nil {
		return s, nil, err
	}
	for _, id := range x.without {
		n := len(list)
		if list = slices.DeleteFunc(list, func(s repository.Snapshot) bool { return restore.FormatID(s.Seq) == id }); len(list) == n {
			return s, nil, usagef("--without %s: no snapshot of %s has this ID", id, x.source)
		}
	}
	logs := restore.Logs{}
	var all []restore.Candidate
	for _, s := range list {
		c := restore.Candidate{Seq: s.Seq, Engine: s.Engine, Taken: s.Taken, Log: s.Log}
		var err1, err2 error
		c.From, err1 = snapshot.ParsePos(s.From)
		c.To, err2 = snapshot.ParsePos(s.To)
		if err := errors.Join(err1, err2); err != nil {
			return s, nil, fmt.Errorf("snapshot %s: %w: %w", restore.FormatID(s.Seq), crypto.ErrDamaged, err)
		}
		all = append(all, c)
		if _, ok := logs[s.Log]; !ok {
			if logs[s.Log], err = r.Log(ctx, x.source, s.Log); err != nil {
				return s, nil, err
			}
		}
	}
	if replay, err = restore.PlanReplay(ctx, all, logs, p); err != nil {
		return s, nil, fmt.Errorf("restore %s: %w", x.source, err)
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
	in := ""
	if r.Snapshot.Engine == string(config.Postgres) || r.End.Line > 1 {
		in = fmt.Sprintf(", in timeline %d", r.End.Line)
	}
	a.note("%s and the log behind it%s", id, in)
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
	var b strings.Builder
	fmt.Fprintf(&b, "would restore %s of %s, taken %s\n  files      %d, %s\n  to fetch   %s in %s and %s, from %s\n",
		row.Snapshot.ID, row.Snapshot.Source, row.Snapshot.Taken.UTC().Format(restore.Time), p.Files, humanize.IBytes(uint64(p.Size)),
		humanize.IBytes(uint64(p.Fetch)), english.Plural(p.Frames, "frame", ""), english.Plural(p.Packs, "pack", ""), from(row))
	for _, s := range p.Targets {
		switch {
		case s.Error != "":
			fmt.Fprintf(&b, "  %-10s does not answer: %s\n", s.Target, s.Error)
		case s.Missing > 0:
			fmt.Fprintf(&b, "  %-10s %s, %s; %d missing\n", s.Target, english.Plural(s.Packs, "pack", ""), humanize.IBytes(uint64(s.Bytes)), s.Missing)
		default:
			fmt.Fprintf(&b, "  %-10s %s, %s\n", s.Target, english.Plural(s.Packs, "pack", ""), humanize.IBytes(uint64(s.Bytes)))
		}
	}
	if row.verbose {
		for _, o := range p.Needs {
			fmt.Fprintf(&b, "  needs      %s\n", o.Name)
		}
	}
	if row.reuse {
		fmt.Fprintf(&b, "  to reuse   %s of %s; %s is fetched because it cannot be compared\n  to remove  %s not in the snapshot\n", humanize.IBytes(uint64(p.Reused)),
			humanize.IBytes(uint64(p.Data)), humanize.IBytes(uint64(p.Pieces)), english.Plural(p.Removed, "file", ""))
	}
	_, err := io.WriteString(a.out, b.String())
	return err
}

// from says which copies a restore would read.
func from(row restoreRow) string {
	if len(row.Plan.Targets) < 2 {
		return row.From
	}
	return row.From + " first, then whichever is fastest"
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
