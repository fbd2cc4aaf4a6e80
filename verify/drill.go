package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/evidence"
	"lifeboat/internal/clock"
	"lifeboat/internal/phrase"
	"lifeboat/internal/redact"
	"lifeboat/restore"
)

// Drill is a restore drill to make. What is restored, and to which point, is decided.
type Drill struct {
	Dir        string      // of the drill's own: everything goes below it
	Restore    restore.Job // without Sink and SpillDir
	Engine     Engine
	Companions []Companion
	Probes     Probes
	Limit      time.Duration // until the database can be used: a restore that takes longer is given up, and has missed its RTO. Probes have limits of their own
	Now        clock.Clock
}

// Companion is a snapshot of files to restore with the database.
type Companion struct {
	Source, Snapshot string
	Skew             time.Duration
	Restore          restore.Job
}

// dataDir and filesDir are where a drill restores, below its directory.
const (
	dataDir  = "data"
	filesDir = "files"
)

// Outcome is what a drill found.
type Outcome struct {
	Plan       restore.Plan
	Timeline   []evidence.Phase
	Ready      time.Duration // from the beginning until the database could be used; 0: it never could
	Late       bool          // the restore was given up because it took longer than Drill.Limit: it has missed its RTO, whatever else is known
	Isolation  evidence.Isolation
	Reached    Reached
	Point      evidence.Verdict
	Checks     []evidence.Check
	Companions []evidence.Companion
	Errors     []string // without secrets
	NotTested  []string // codes of evidence.Limits
	Result     evidence.Verdict
}

// Took is how long a phase took; 0 where it was not reached.
func (o *Outcome) Took(phase string) (sum time.Duration) {
	for _, p := range o.Timeline {
		if p.Name == phase {
			sum += p.End.Sub(p.Start)
		}
	}
	return sum
}

// errLate is why a drill was given up.
var errLate = errors.New(phrase.TooLong.Say())

// Run makes a drill: it restores, starts the database in isolation, asks it, and stops it. What goes wrong is in the outcome: damage is a failure, and what could
// not be found out is inconclusive. Removing the directory is for the caller.
func Run(ctx context.Context, d Drill) *Outcome {
	o := &Outcome{Result: evidence.Pass, Point: evidence.Inconclusive}
	ctx, cancel := context.WithCancelCause(ctx) // the database lives as long as ctx: no deadline, which would go on while it is asked
	defer cancel(nil)
	limit := time.AfterFunc(d.Limit, func() { cancel(fmt.Errorf("%w: %s", errLate, phrase.MoreThan.Say(d.Limit))) })
	db := d.build(ctx, o)
	limit.Stop()
	if db != nil {
		d.ask(ctx, o, db)
	}
	for _, c := range o.Companions {
		o.Result = evidence.Worst(o.Result, c.Verdict)
	}
	for _, c := range o.Checks {
		if c.Severity == evidence.Critical {
			o.Result = evidence.Worst(o.Result, c.Verdict)
		}
	}
	return o
}

// fail notes what went wrong, and what that means for the result.
func (o *Outcome) fail(ctx context.Context, doing string, v evidence.Verdict, err error) {
	if cause := context.Cause(ctx); errors.Is(cause, errLate) {
		o.Late = true
		v, err = evidence.Fail, fmt.Errorf("%w: %w", cause, err)
	} else if cause != nil {
		v = evidence.Inconclusive // somebody ended it
	}
	o.Result = evidence.Worst(o.Result, v)
	o.Errors = append(o.Errors, redact.Text(fmt.Sprintf("%s: %v", doing, err)))
}

// build restores the database and its companions, and starts it; nil where that failed.
func (d Drill) build(ctx context.Context, o *Outcome) Database {
	dir := filepath.Join(d.Dir, dataDir)
	err := d.phase(o, evidence.PhaseRestore, func(p *evidence.Phase) error {
		sink, err := d.Engine.Sink(dir, d.Restore.Tree.Root.Size)
		if err != nil {
			return err
		}
		o.Plan, err = bring(ctx, d.Restore, sink)
		p.Bytes = o.Plan.Size
		return err
	})
	if err != nil {
		o.fail(ctx, phrase.Restoring.Say(), meaning(err), err)
		return nil
	}
	for _, c := range d.Companions {
		o.Companions = append(o.Companions, d.companion(ctx, o, c))
	}
	var db Database
	err = d.phase(o, evidence.PhaseReplay, func(*evidence.Phase) (err error) {
		db, err = d.Engine.Start(ctx, dir)
		return err
	})
	switch {
	case errors.Is(err, ErrUnavailable):
		o.fail(ctx, phrase.Starting.Say(), evidence.Inconclusive, err)
		return nil
	case err != nil:
		if ctx.Err() == nil { // otherwise nobody knows how far it would have come
			o.Point = evidence.Fail
		}
		o.fail(ctx, phrase.Starting.Say(), evidence.Fail, err)
		return nil
	}
	o.Ready = o.Timeline[len(o.Timeline)-1].End.Sub(o.Timeline[0].Start)
	o.Isolation, o.Point = db.Isolation(), evidence.Pass // the engine starts only where it gets there
	return db
}

// ask probes the database, and stops it whatever comes.
func (d Drill) ask(ctx context.Context, o *Outcome, db Database) {
	err := d.phase(o, evidence.PhaseChecks, func(*evidence.Phase) (err error) {
		if o.Reached, err = db.Reached(ctx); err != nil {
			return fmt.Errorf("how far it came: %w", err)
		}
		o.Checks, o.NotTested = d.Probes.ask(ctx, d.Now, db, o.Reached)
		return ctx.Err()
	})
	if err != nil {
		o.fail(ctx, phrase.Asking.Say(), evidence.Inconclusive, err)
	}
	err = d.phase(o, evidence.PhaseTeardown, func(*evidence.Phase) (err error) {
		if o.Isolation.Processes, err = db.Stop(context.WithoutCancel(ctx)); err == nil && o.Isolation.Processes > 0 {
			err = errors.New(phrase.ProcessesLeft.Say(o.Isolation.Processes))
		}
		return err
	})
	if err != nil {
		o.fail(context.WithoutCancel(ctx), phrase.Stopping.Say(), evidence.Fail, err)
	}
}

// phase does something and notes when.
func (d Drill) phase(o *Outcome, name string, do func(*evidence.Phase) error) error {
	p := evidence.Phase{Name: name, Start: d.Now().UTC()}
	err := do(&p)
	p.End = d.Now().UTC()
	o.Timeline = append(o.Timeline, p)
	return err
}

// bring is the restore that `lifeboat restore` makes.
func bring(ctx context.Context, job restore.Job, sink Sink) (plan restore.Plan, err error) {
	defer func() { err = errors.Join(err, sink.Close()) }()
	job.Sink, job.SpillDir = sink, sink.Work()
	return restore.Run(ctx, job)
}

// companion restores files that belong with the database.
func (d Drill) companion(ctx context.Context, o *Outcome, c Companion) evidence.Companion {
	out := evidence.Companion{Source: c.Source, Snapshot: c.Snapshot, Skew: c.Skew.Milliseconds(), Verdict: evidence.Pass}
	err := d.phase(o, evidence.PhaseRestore, func(p *evidence.Phase) error {
		dir := filepath.Join(d.Dir, filesDir, c.Source)
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
		sink, err := restore.NewDirectory(dir, c.Restore.Tree.Root.Size)
		if err != nil {
			return err
		}
		sink.Tree = true
		plan, err := bring(ctx, c.Restore, sink)
		out.Files, out.Size = plan.Files, plan.Size
		p.Bytes, p.Note = plan.Size, c.Source
		return err
	})
	if err != nil {
		out.Verdict = meaning(err)
		o.fail(ctx, phrase.RestoringOf.Say(c.Source), out.Verdict, err)
	}
	return out
}

// meaning is what an error of a restore says of the backup: damage is a failure; anything else leaves open whether it would have come back.
func meaning(err error) evidence.Verdict {
	if chunkstore.Damaged(err) && !errors.Is(err, restore.ErrRefused) {
		return evidence.Fail
	}
	return evidence.Inconclusive
}
