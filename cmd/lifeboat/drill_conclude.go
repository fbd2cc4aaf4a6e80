package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/evidence"
	"lifeboat/internal/phrase"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
)

// finish draws the conclusions.
func (d *drilling) finish() {
	r := d.report
	r.Result = evidence.Worst(r.Result, r.RPO.Verdict)
	if r.Selection.Mode == string(config.DrillTier1) {
		r.RTO.How = phrase.RTONotMeasured.Say()
	} else {
		r.Result = evidence.Worst(r.Result, r.RTO.Verdict, r.Point.Verdict)
	}
	if d.reader != nil {
		d.project()
	}
	codes := []string{"application", "users", "performance", "production-hardware"}
	if r.Selection.Mode != string(config.DrillFull) {
		codes = append(codes, "companions")
	}
	if len(r.Backup.Copies) > 1 {
		codes = append(codes, "other-copies")
	}
	codes = append(codes, "other-points")
	codes = append(codes, d.notTested...)
	slices.Sort(codes)
	r.NotTested = evidence.Limits(slices.Compact(codes)...)
	d.findings()
}

// findings are what somebody has to see to: what failed, and what could not be found out.
func (d *drilling) findings() {
	r := d.report
	retest := phrase.Retest.Say(r.Policy.Name, r.Backup.Copy.Target)
	if r.Backup.Copy.Target == "" {
		retest = phrase.RetestAny.Say(r.Policy.Name)
	}
	due := r.Policy.Next
	add := func(id string, s evidence.Severity, text string) {
		r.Findings = append(r.Findings, evidence.Finding{ID: id, Severity: s, Text: text, Owner: r.Policy.Owner, Due: due, Retest: retest})
	}
	for i, e := range r.Errors {
		first, _, _ := strings.Cut(e, "\n")
		add(fmt.Sprintf("error-%d", i+1), evidence.Critical, first)
	}
	for _, c := range r.Checks {
		if c.Verdict != evidence.Pass {
			add(c.ID, c.Severity, phrase.FoundCheck.Say(c.ID, c.Expected, c.Observed))
		}
	}
	for name, o := range map[string]evidence.Objective{"rto": r.RTO, "rpo": r.RPO} {
		if o.Verdict == evidence.Fail {
			add(name, evidence.Critical, phrase.FoundObjective.Say(strings.ToUpper(name), time.Duration(o.Actual)*time.Millisecond, time.Duration(o.Target)*time.Millisecond))
		}
	}
	if r.Projection != nil && r.Projection.Verdict == evidence.Fail {
		add("projection", evidence.Warning, phrase.FoundProjection.Say(r.Projection.Copy))
	}
	slices.SortFunc(r.Findings, func(a, b evidence.Finding) int { return strings.Compare(a.ID, b.ID) })
}

// project says how long a restore of production would take, from the slowest copy.
func (d *drilling) project() {
	var samples []policies.Restored
	add := func(b *journal.DrillBody, target string) {
		if b.RTO > 0 && b.Size > 0 && target != "" {
			samples = append(samples, policies.Restored{Copy: target, Size: b.Size, LogSize: b.LogSize, Restore: time.Duration(b.Fetch) * time.Millisecond, Replay: time.Duration(b.Replay) * time.Millisecond,
				Rest: time.Duration(b.RTO-b.Fetch-b.Replay) * time.Millisecond})
		}
	}
	for i, p := range d.past {
		add(p.DrillBody, d.runs[i].Copy)
	}
	add(&d.body, d.name)
	size, log := d.production()
	p, ok := policies.Project(samples, size, log)
	if !ok {
		return
	}
	d.report.Projection = &evidence.Projection{Size: size, LogSize: log, Copy: p.Copy, Duration: p.Duration.Milliseconds(), Low: p.Low.Milliseconds(), High: p.High.Milliseconds(), Model: p.Model + ".",
		Samples: p.Samples, Error: p.Error, Verdict: evidence.Verdict(p.Verdict(d.rto())),
		Assumption: phrase.Assumption.Say()}
}

// production is how large the newest snapshot is, and how much log a restore has to replay at most: the most that lay between two snapshots lately.
func (d *drilling) production() (size, log int64) {
	size, log = d.body.Size, d.body.LogSize
	for _, e := range d.all.Chain.Entries() {
		if e.Snapshot != nil && e.Snapshot.Source == d.body.Source {
			size = e.Snapshot.Size
		}
	}
	for _, p := range d.past {
		log = max(log, p.LogSize)
	}
	return size, log
}

// rpo judges how much would have been lost, had production been lost when the drill began.
func (d *drilling) rpo(until time.Time) {
	lost := max(d.begin.Sub(until), 0)
	o := &d.report.RPO
	o.Actual, o.How = lost.Milliseconds(), phrase.RPOHow.Say()
	if o.Verdict = evidence.Verdict(policies.Meets(lost, true, d.rule.RPO.Length())); o.Target == 0 {
		o.Verdict = evidence.Pass
		o.How += "; " + phrase.RPONone.Say()
	}
	d.body.RPO = o.Actual
}

// conclude signs a report and keeps it, to be recorded as soon as that is possible. Only one drill at a time comes here, so each knows the one before it.
func (a *app) conclude(chain *journal.Chain, r *evidence.Report, body journal.DrillBody, now time.Time) (*drilled, error) {
	waiting := repository.WaitingDrills(a.cfg.StateDir)
	if known, err := repository.KnownChain(a.cfg.StateDir); err == nil && known.Len() > chain.Len() {
		chain = known
	}
	r.Log.Previous = ""
	host := repository.Role(a.cfg.StateDir)
	for _, d := range repository.Drills(chain, waiting) {
		if d.Source == body.Source && d.Host == host {
			r.Log.Previous = d.Report
		}
	}
	r.Issued = now.UTC()
	envelope, err := repository.SignReport(a.cfg.StateDir, chain, r)
	if err != nil {
		return nil, err
	}
	body.Report, body.Result = evidence.Digest(envelope), string(r.Result)
	at := r.Issued
	err = repository.Note(a.cfg.StateDir, repository.Noted{Document: envelope, Record: journal.Record{Type: journal.Drill, By: r.Trigger.By, From: r.Trigger.From,
		Reason: r.Trigger.Reason, Happened: &at, Drill: &body}})
	if err != nil {
		return nil, err
	}
	return &drilled{Report: r, digest: body.Report}, nil
}

// recordNoted brings to the journal what waits for it, and how the policies read; nil also where a run that is under way will.
func (a *app) recordNoted(ctx context.Context, x access) error {
	if repository.IsDrillHost(a.cfg.StateDir) {
		err := a.fork().recordOnDrillHost(ctx, x)
		if errors.Is(err, repository.ErrLocked) {
			return nil
		}
		return err
	}
	c, err := a.fork().answering(ctx)
	if err != nil {
		return err
	}
	defer daemon.CloseAll(c.Copies)
	h, err := repository.OpenHost(ctx, c)
	if errors.Is(err, repository.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	err = errors.Join(daemon.RecordPolicies(ctx, h, a.cfg), h.Close())
	if n, _ := repository.Unrecorded(a.cfg.StateDir); n > 0 {
		err = errors.Join(err, errors.New("no copy took it yet"))
	}
	return err
}
