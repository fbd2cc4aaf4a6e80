package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/evidence"
	"lifeboat/internal/clock"
	"lifeboat/internal/phrase"
	"lifeboat/internal/redact"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/verify"
)

// drillRequest is a drill that somebody, or a schedule, asks for.
type drillRequest struct {
	rule     config.Policy
	database string // of the policy; empty: the one whose turn it is
	mode     config.DrillMode
	at       string      // point; empty: as the policy selects
	target   string      // name; empty: as the policy says
	seed     string      // 32 hex digits; empty: drawn anew
	queued   *time.Time  // when it was asked for
	due      *time.Time  // of the schedule
	skipped  []time.Time // times of the schedule
	reason   string
}

// drilling is one drill under way.
type drilling struct {
	*app
	access
	drillRequest
	now    clock.Clock // steady: an app's can be set while the drill runs
	report *evidence.Report
	files  drillFiles

	all    *repository.Reader // of all copies, for what is known of earlier drills
	past   []repository.Drilled
	runs   []policies.DrilledRun // the same
	before *evidence.Report      // the last one
	equal  *evidence.Report      // one that reached the same position

	name   string             // of the copy that is drilled
	reader *repository.Reader // of it alone
	begin  time.Time          // of the way that an administrator would go
	body   journal.DrillBody

	notTested []string
}

// drilled is a drill that came to its end.
type drilled struct {
	*evidence.Report
	digest   string
	recorded error // why it stands on no copy yet
}

// drill makes a drill. An error means that it was refused, that nothing is known to report by, or that its report could not be kept.
func (a *app) drill(ctx context.Context, x access, q drillRequest) (*drilled, error) {
	steady := clock.NewSteady(a.now)
	d := &drilling{app: a, access: x, drillRequest: q, now: steady.Now, files: drillFiles{a.cfg.StateDir, resolved(scratchOf(q.rule.Drill))}}
	defer func() { leave(d.all) }()
	alone, err := d.files.alone()
	if err != nil {
		return nil, err
	}
	defer alone.Close()
	if err := d.prepare(ctx); err != nil {
		return d.unprepared(ctx, err)
	}
	note, err := d.files.begin(d.unfinished())
	if err != nil {
		return nil, err
	}
	if err := d.perform(ctx); err != nil {
		return nil, errors.Join(err, note.End())
	}
	d.strayed(steady)
	if ctx.Err() != nil { // it serves no time of the schedule: the next start makes it anew
		d.report.Errors = append(d.report.Errors, phrase.SomebodyEnded.Say())
		d.report.Result = evidence.Worst(d.report.Result, evidence.Inconclusive)
		d.report.Policy.Due, d.report.Policy.Missed, d.body.Due, d.body.Missed = nil, []time.Time{}, nil, nil
	}
	d.finish()
	done, err := a.conclude(d.all.Chain, d.report, d.body, d.now())
	if err != nil {
		return nil, errors.Join(err, note.Close()) // it stays, and the next drill reports what became of this one
	}
	return done, note.End()
}

// maxStray is how far a host's clock may be set in a drill: less than what an RPO is about.
const maxStray = 10 * time.Second

// strayed reports that the clock was set meanwhile: durations are right all the same, and from when production's newest transaction is cannot be told.
func (d *drilling) strayed(steady *clock.Steady) {
	_ = d.now() // looks at it a last time
	by := steady.Strayed()
	if by.Abs() < maxStray {
		return
	}
	d.report.Errors = append(d.report.Errors, phrase.ClockSet.Say(by.Round(time.Second)))
	d.report.RPO.Verdict = evidence.Worst(d.report.RPO.Verdict, evidence.Inconclusive)
}

// prepare opens the repository, and picks the copy.
func (d *drilling) prepare(ctx context.Context) (err error) {
	if ids, err := d.identities(d.access); err != nil || len(ids) == 0 {
		return errors.Join(err, fmt.Errorf("%w: a drill restores: give the identity with --identity FILE, or $LIFEBOAT_IDENTITY_FILE", crypto.ErrIdentity))
	}
	waiting := repository.WaitingDrills(d.cfg.StateDir)
	if _, d.all, err = d.app.reader(ctx, access{identity: d.access.identity, trust: d.access.trust}); err != nil {
		return err
	}
	if err := d.unlock(ctx, d.access, d.all, true); err != nil {
		return err
	}
	if err := repository.MaySign(d.cfg.StateDir, d.all.Chain); err != nil {
		return err
	}
	if err := d.apart(); err != nil {
		return err
	}
	d.history(waiting)
	if err := d.facts(); err != nil {
		return err
	}
	copies := d.positions(ctx, access{}, d.all)
	defer daemon.CloseAll(copies)
	d.report.Backup.Copies = d.copiesOf(copies)
	return d.pickCopy(copies)
}

// history finds the drills of the database before this one. Where none was named it is the one whose turn it is; those that were never drilled come first.
func (d *drilling) history(waiting []repository.Drilled) {
	all := repository.Drills(d.all.Chain, waiting)
	if d.database == "" {
		d.database = d.turn(all)
	}
	opaque := d.opaque(d.database)
	for _, p := range all {
		if p.Source == opaque {
			d.past, d.runs = append(d.past, p), append(d.runs, daemon.RunOf(p, d.opaque, d.cfg))
		}
	}
}

// turn is the database that has the snapshot which is asked for, or else the one whose last drill is the longest ago. A drill of a clock that was ahead does not count.
func (d *drilling) turn(all []repository.Drilled) string {
	databases := daemon.Databases(d.cfg, d.rule)
	if p, err := restore.ParsePoint(d.at); err == nil && p.Seq > 0 && p.Seq <= d.all.Chain.Len() {
		if s := d.all.Chain.Entries()[p.Seq-1].Snapshot; s != nil {
			for _, name := range databases {
				if s.Source == d.opaque(name) {
					return name
				}
			}
		}
	}
	last, now := map[string]time.Time{}, d.now()
	for _, p := range all {
		if p.At.After(last[p.Source]) && !p.At.After(now) {
			last[p.Source] = p.At
		}
	}
	return slices.MinFunc(databases, func(x, y string) int { return last[d.opaque(x)].Compare(last[d.opaque(y)]) })
}

// apart refuses a scratch directory that is not the drill's own: in a copy, in what is backed up, or around it.
func (d *drilling) apart() error {
	if err := d.outside(d.access, d.files.scratch); err != nil {
		return err
	}
	scratch := resolved(d.files.scratch)
	for _, s := range d.cfg.Sources {
		for _, path := range append(slices.Clone(s.Paths), s.Path) {
			if path != "" && (within(scratch, resolved(path)) || within(resolved(path), scratch)) {
				return fmt.Errorf("%w: drills would restore into %s, and the source %s is in %s: name another place with scratch in the policy's drill", restore.ErrRefused, scratch, s.Name, path)
			}
		}
	}
	return nil
}

// opaque is what stands for something in public records.
func (d *drilling) opaque(name string) string { return d.all.IDs.NewHasher().Source(name) }

// copiesOf describes every copy of the policy.
func (d *drilling) copiesOf(copies []*repository.Copy) []evidence.Copy {
	out := []evidence.Copy{}
	for _, c := range copies {
		t, ok := d.cfg.Target(c.Name)
		if !ok || len(d.rule.Targets) > 0 && !slices.Contains(d.rule.Targets, c.Name) {
			continue
		}
		e := evidence.Copy{Target: c.Name, Place: placeOf(t), Media: mediaOf(t), Offsite: t.Offsite, Records: c.Position}
		for i, r := range d.runs {
			if r.Copy == c.Name {
				e.LastDrill = &d.past[i].At
			}
		}
		out = append(out, e)
	}
	return out
}

// pickCopy decides which copy is drilled.
func (d *drilling) pickCopy(copies []*repository.Copy) error {
	var targets []string
	for _, c := range d.report.Backup.Copies {
		targets = append(targets, c.Target)
	}
	all := policies.DrillCopies(d.now(), targets, d.runs)
	for i := range all {
		for _, c := range copies {
			if c.Name == all[i].Target && c.Err != nil && !lost(c.Err) { // one that is damaged is drilled, and fails
				all[i].Against = redact.Text(c.Err.Error())
			}
		}
	}
	name, excluded, err := policies.PickCopy(d.report.Selection.From, all)
	for _, e := range excluded {
		d.report.Selection.Excluded = append(d.report.Selection.Excluded, evidence.Excluded{What: phrase.TheTarget.Say(e.What), Reason: e.Reason})
	}
	if d.name = name; err != nil {
		return err
	}
	d.body.Copy = d.opaque(repository.OpaqueTarget + name)
	for _, c := range d.report.Backup.Copies {
		if c.Target == name {
			d.report.Backup.Copy = c
		}
	}
	return nil
}

// perform goes the way of a restore, from the copy alone, and asks what came back. What goes wrong is in the report; an error refuses a point that was
// asked for and that there is no way to.
func (d *drilling) perform(ctx context.Context) error {
	d.begin = d.now().UTC()
	way, err := d.plan(ctx)
	d.report.Timeline = append(d.report.Timeline, evidence.Phase{Name: evidence.PhasePlan, Start: d.begin, End: d.now().UTC()})
	defer leave(d.reader)
	switch {
	case d.at != "" && errors.Is(err, restore.ErrRefused):
		return err
	case err != nil:
		d.failed(phrase.FindingWay.Say(d.name), err)
	case d.mode == config.DrillTier1:
		d.hash(ctx, way)
	default:
		d.restore(ctx, way)
	}
	return nil
}

// drillWay is what is restored.
type drillWay struct {
	snapshot repository.Snapshot
	replay   *restore.Replay
	job      restore.Job
	point    restore.Point
}

// plan opens the copy and finds the way to the point.
func (d *drilling) plan(ctx context.Context) (w drillWay, err error) {
	one := d.fork()
	x := access{from: d.name, identity: d.access.identity, trust: d.access.trust}
	if _, d.reader, err = one.reader(ctx, x); err != nil {
		return w, err
	}
	if err := one.unlock(ctx, x, d.reader, true); err != nil {
		return w, err
	}
	if d.reader.Broken != nil {
		return w, fmt.Errorf("the journal of %s does not verify to its end: %w: %w", d.name, crypto.ErrDamaged, d.reader.Broken)
	}
	r := &restoring{app: one, access: x, source: d.database}
	if r.at, err = d.pickPoint(ctx, r); err != nil {
		return w, err
	}
	d.report.Point.Requested = r.at
	if w.point, err = restore.ParsePoint(r.at); err != nil {
		return w, err
	}
	w.snapshot, w.replay, err = r.chooseAgain(ctx, d.reader, w.point)
	if errors.Is(err, restore.ErrRefused) && d.at == "" { // the copy was to lead there, and nobody asked for too much
		d.report.Point.Verdict = evidence.Fail
	}
	if err != nil {
		return w, err
	}
	tree, err := d.reader.TreeOf(ctx, w.snapshot.SnapshotBody)
	if err != nil {
		return w, err
	}
	w.job = restore.Job{Tree: tree, Frames: d.reader.Frames, Names: []string{d.name}, IDs: d.reader.IDs}
	d.backupFacts(ctx, w)
	return w, nil
}

// restore makes the drill itself.
func (d *drilling) restore(ctx context.Context, w drillWay) {
	job := verify.Drill{Restore: w.job, Limit: 2 * d.rto(), Now: d.now, Probes: d.probes(w)}
	scratch, err := verify.NewScratch(d.files.scratch, d.report.ID)
	if err == nil {
		job.Dir = scratch.Dir
		if job.Engine, err = d.lab(ctx, w); err == nil {
			d.report.Backup.Version = job.Engine.Version()
			job.Companions, err = d.companions(ctx, w)
		}
	}
	if err != nil {
		d.failed(phrase.Preparing.Say(), err)
	} else {
		p := d.progress("drill")
		p.start(w.job.Tree.Root.Size)
		job.Restore.Progress = p.add
		o := verify.Run(ctx, job)
		p.done()
		d.outcome(o)
	}
	if scratch != nil {
		d.tornDown(scratch)
	}
}

// tornDown removes what the drill made, and reports what is left.
func (d *drilling) tornDown(s *verify.Scratch) {
	i := &d.report.Isolation
	i.Directory = s.Dir
	processes, files, err := s.Remove()
	i.Processes, i.Files = i.Processes+processes, files
	i.Teardown, i.TornDown = evidence.Pass, []string{phrase.NobodyWorks.Say(s.Dir), phrase.DirectoryGone.Say(s.Dir)}
	switch {
	case errors.Is(err, fs.ErrNotExist): // of a drill that was killed: it had not made it yet, or removed it, or it was moved
		i.Teardown, i.TornDown = evidence.Inconclusive, []string{}
		d.report.Errors = append(d.report.Errors, redact.Text(err.Error()))
	case err != nil || i.Processes+i.Files > 0:
		if i.Processes+i.Files > 0 {
			err = errors.Join(err, errors.New(phrase.LeftIn.Say(i.Processes, i.Files, s.Dir)))
		}
		i.Teardown, i.TornDown = evidence.Fail, []string{}
		d.report.Errors = append(d.report.Errors, redact.Text(fmt.Sprintf("%s: %v", phrase.TearingDown.Say(), err)))
		d.report.Result = evidence.Fail
	}
}

// lost reports whether an error says that a copy is there, and is not what it was.
func lost(err error) bool {
	return errors.Is(err, repository.ErrNoRepository) || errors.Is(err, journal.ErrBroken) || chunkstore.Damaged(err)
}
