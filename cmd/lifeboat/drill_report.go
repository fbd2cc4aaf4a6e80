package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/internal/phrase"
	"lifeboat/internal/redact"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/verify"
)

func (d *drilling) rto() time.Duration { return policies.RTO(d.rule.Drill.RTO) }

// newDrillID is a time and 4 random bytes.
func newDrillID(now time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return now.UTC().Format("20060102-150405-") + hex.EncodeToString(b[:])
}

// manualDrill is the kind of a drill that somebody asked for.
const manualDrill = "manual"

// facts begins the report with what is known before anything is done.
func (d *drilling) facts() error {
	now := d.now().UTC()
	source, _ := d.cfg.Source(d.database)
	text, err := config.PolicyText(d.cfg, d.rule)
	if err != nil {
		return err
	}
	r := &evidence.Report{Schema: evidence.Schema, ID: newDrillID(now), Environment: evidence.Environment{Name: d.cfg.Repository}, Tool: tool(), Host: machine(d.rule.Drill.IdentityAccepted && !repository.IsDrillHost(d.cfg.StateDir)),
		Policy: policyFacts(d.rule, source, text), Timeline: []evidence.Phase{}, Trend: []evidence.Past{}, Checks: []evidence.Check{}, Errors: []string{}, Findings: []evidence.Finding{},
		Controls: evidence.Controls(), Result: evidence.Pass}
	r.Trigger = evidence.Trigger{Kind: manualDrill, By: by(), From: origin(), Reason: d.reason}
	if d.due != nil {
		r.Trigger.Kind, r.Trigger.From = "scheduled", "daemon"
	}
	r.Policy.Due, r.Policy.Missed = d.due, append(r.Policy.Missed, d.skipped...)
	if s := d.rule.Drill.Schedule; s != nil {
		if next := s.Next(now); !next.IsZero() {
			next = next.UTC()
			r.Policy.Next = &next
		}
	}
	r.Selection = evidence.Selection{Mode: string(d.mode), Algorithm: string(d.rule.Drill.Select), From: d.rule.Drill.From, Window: int64(d.rule.Drill.Window.Length().Seconds()), Excluded: []evidence.Excluded{}}
	if d.at != "" {
		r.Selection.Algorithm = "given"
	}
	if d.target != "" {
		r.Selection.From = d.target
	}
	r.RTO = evidence.Objective{Target: d.rto().Milliseconds(), Verdict: evidence.Inconclusive}
	r.RPO = evidence.Objective{Target: d.rule.RPO.Length().Milliseconds(), Verdict: evidence.Inconclusive}
	r.Point = evidence.Point{Requested: d.at, Gaps: []string{}, Verdict: evidence.Inconclusive}
	r.Isolation = evidence.Isolation{TornDown: []string{}, Teardown: evidence.Inconclusive}
	r.Backup = evidence.Backup{Copies: []evidence.Copy{}, Epochs: keyIDs(d.all.Chain.Epochs()), Companions: []evidence.Companion{}, Cipher: d.cipher()}
	if d.queued != nil {
		queued := d.queued.UTC()
		if queued.After(now) { // the clock was set back meanwhile
			queued = now
		}
		r.Timeline = append(r.Timeline, evidence.Phase{Name: evidence.PhaseQueue, Start: queued, End: now})
	}
	d.report = r
	d.body = journal.DrillBody{Source: d.opaque(d.database), Policy: d.opaque(repository.OpaquePolicy + d.rule.Name), Mode: string(d.mode), Due: d.due, Missed: d.skipped, Began: now}
	d.trend()
	return nil
}

// cipher is how content is sealed, and where its keys are less well.
func (d *drilling) cipher() string {
	s := phrase.Cipher.Say()
	for _, k := range d.all.KeyFiles() {
		if k.Class == string(crypto.Classic) {
			return s + "; " + phrase.CipherWeaker.Say()
		}
	}
	return s
}

// keyIDs name recipients as the journal does: by the first 16 bytes of the SHA-256 of each, in hex.
func keyIDs(recipients []string) (out []string) {
	for _, r := range recipients {
		sum := sha256.Sum256([]byte(r))
		out = append(out, hex.EncodeToString(sum[:16]))
	}
	return out
}

// maxTrend is how many earlier drills a report shows.
const maxTrend = 24

// trend adds the drills before.
func (d *drilling) trend() {
	first := max(0, len(d.past)-maxTrend)
	for i, p := range d.past[first:] {
		at := p.At.UTC()
		d.report.Trend = append(d.report.Trend, evidence.Past{At: at, Report: p.Report, Copy: d.runs[first+i].Copy, RTO: p.RTO, RPO: p.RPO, Size: p.Size, Result: evidence.Verdict(p.Result)})
		d.report.Policy.Previous = &at
	}
}

// backupFacts are those of what was chosen.
func (d *drilling) backupFacts(ctx context.Context, w drillWay) {
	b, root := &d.report.Backup, w.job.Tree.Root
	b.Engine, b.System, b.Snapshot, b.Kind, b.Taken, b.Size = root.Engine, w.snapshot.System, restore.FormatID(w.snapshot.Seq), w.snapshot.Kind, w.snapshot.Taken.UTC(), root.Size
	b.Record = journal.Hash(d.reader.Chain.Entries()[w.snapshot.Seq-1].Raw)
	b.From, b.To = w.snapshot.From, position(w.replay)
	for _, o := range w.replay.Log {
		b.LogSize += int64(o.To.Offset - o.From.Offset)
	}
	d.body.Snapshot, d.body.Size, d.body.LogSize = w.snapshot.Seq, b.Size, b.LogSize
	d.report.Point.Reached = b.To
	if !w.replay.Until.IsZero() {
		until := w.replay.Until.UTC()
		d.report.Point.Through = &until
	}
	d.same(ctx)
}

// position is where a replay is to end.
func position(r *restore.Replay) string {
	if r.Stop == nil {
		return r.End.String()
	}
	end := r.End
	end.Offset = *r.Stop
	if r.Through {
		return phrase.BehindRecord.Say(end)
	}
	return end.String()
}

// same finds for comparison the last drill that passed, or that somebody has reviewed, so that what it found is known; and one that reached the same position.
func (d *drilling) same(ctx context.Context) {
	reviewed := map[string]bool{}
	for _, e := range d.all.Chain.Entries() {
		if e.Review != nil {
			reviewed[e.Review.Report] = true
		}
	}
	d.before = d.newest(ctx, func(p repository.Drilled) bool {
		return evidence.Verdict(p.Result) == evidence.Pass || reviewed[p.Report]
	},
		func(r *evidence.Report) bool { return !later(r.Point.Through, d.report.Point.Through) }) // what was not there yet is not missing
	d.equal = d.newest(ctx, func(repository.Drilled) bool { return true },
		func(r *evidence.Report) bool {
			return r.Backup.Snapshot == d.report.Backup.Snapshot && r.Backup.To == d.report.Backup.To
		})
}

// sameAmong is how many of the newest drills are opened to find one.
const sameAmong = 8

// newest is the report of the newest drill of the database, among those that pick picks, that counted tables and fits; nil without one.
func (d *drilling) newest(ctx context.Context, pick func(repository.Drilled) bool, fits func(*evidence.Report) bool) *evidence.Report {
	opened := 0
	for _, p := range slices.Backward(d.past) {
		if !pick(p) {
			continue
		}
		if opened++; opened > sameAmong {
			break
		}
		b, err := d.all.ReadReport(ctx, d.cfg.StateDir, p)
		if err != nil {
			continue // there is less to compare with
		}
		o, err := evidence.Open(b, "")
		if err != nil || o.Report.Policy.Source != d.database {
			continue
		}
		if slices.ContainsFunc(o.Report.Checks, func(c evidence.Check) bool { return c.ID == "counts" && len(c.Tables) > 0 }) && fits(o.Report) {
			return o.Report
		}
	}
	return nil
}

// later reports whether one moment is behind another, where both are known.
func later(a, b *time.Time) bool { return a != nil && b != nil && a.After(*b) }

// outcome takes over what the drill found.
func (d *drilling) outcome(o *verify.Outcome) {
	r := d.report
	r.Timeline, r.Checks, r.Errors = append(r.Timeline, o.Timeline...), append(r.Checks, o.Checks...), append(r.Errors, o.Errors...)
	r.Isolation, r.Point.Verdict = o.Isolation, o.Point
	r.Isolation.TornDown = []string{}
	r.Isolation.Teardown = evidence.Inconclusive
	r.Backup.Fetched, r.Backup.Frames = o.Plan.Fetch, o.Plan.Frames
	r.Backup.Companions = append(r.Backup.Companions, o.Companions...)
	if o.Reached.Position != "" {
		r.Point.Reached = o.Reached.Position
	}
	if !o.Reached.Last.IsZero() {
		last := o.Reached.Last.UTC()
		r.Point.Last = &last
	}
	d.notTested = append(d.notTested, o.NotTested...)
	r.Result = evidence.Worst(r.Result, o.Result)
	d.body.Fetch, d.body.Replay = o.Took(evidence.PhaseRestore).Milliseconds(), o.Took(evidence.PhaseReplay).Milliseconds()
	if o.Late {
		r.RTO.Actual, r.RTO.Verdict, r.RTO.How = d.now().Sub(d.begin).Milliseconds(), evidence.Fail, phrase.RTOGivenUp.Say()
	}
	if o.Ready > 0 {
		took := o.Timeline[0].Start.Add(o.Ready).Sub(d.begin)
		r.RTO.Actual, r.RTO.Verdict = took.Milliseconds(), evidence.Verdict(policies.Meets(took, true, d.rto()))
		r.RTO.How = phrase.RTOHow.Say()
		d.body.RTO = r.RTO.Actual
	}
}

// failed notes what hindered the drill. Damage is a failure of the backup, all else leaves open what would have come of it.
func (d *drilling) failed(doing string, err error) {
	v := evidence.Inconclusive
	if lost(err) && !errors.Is(err, restore.ErrRefused) && !errors.Is(err, verify.ErrUnavailable) {
		v = evidence.Fail
	}
	d.report.Result = evidence.Worst(d.report.Result, v)
	d.report.Errors = append(d.report.Errors, redact.Text(fmt.Sprintf("%s: %v", doing, err)))
}

// hash opens and hashes everything that a restore would need, and starts nothing.
func (d *drilling) hash(ctx context.Context, w drillWay) {
	c := evidence.Check{ID: "integrity", Kind: "integrity", Severity: evidence.Critical, What: phrase.ReadAll.Say(), Expected: phrase.NoFaults.Say(),
		Observed: phrase.NoFaults.Say(), Verdict: evidence.Pass, Start: d.now().UTC(), Tables: []evidence.Table{}}
	var faults []string
	p := d.progress("drill")
	p.start(w.job.Tree.Root.Size)
	err := restore.Verify(ctx, []*snapshot.Tree{w.job.Tree}, []string{d.report.Backup.Snapshot}, d.reader.Frames, d.reader.IDs, 1, p.add, func(what string, _ []string, err error) {
		faults = append(faults, fmt.Sprintf("%s: %v", what, err))
	})
	p.done()
	for _, o := range w.replay.Log {
		if err != nil {
			break
		}
		if err = w.replay.Reader.Log(ctx, o, io.Discard); chunkstore.Damaged(err) {
			faults, err = append(faults, err.Error()), nil
		}
	}
	c.End = d.now().UTC()
	d.report.Timeline = append(d.report.Timeline, evidence.Phase{Name: evidence.PhaseRestore, Start: c.Start, End: c.End, Bytes: w.job.Tree.Root.Size})
	switch {
	case len(faults) > 0:
		c.Verdict, c.Observed, c.Why = evidence.Fail, phrase.Faults.Say(len(faults)), redact.Text(strings.Join(faults[:min(len(faults), 20)], "\n"))
	case err != nil:
		c.Verdict, c.Observed, c.Why = evidence.Inconclusive, "", redact.Text(err.Error())
	}
	d.report.Checks = append(d.report.Checks, c)
	d.report.Result = evidence.Worst(d.report.Result, c.Verdict)
	d.notTested = append(d.notTested, "start", "queries")
}
