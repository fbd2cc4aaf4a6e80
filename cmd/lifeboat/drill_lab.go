package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/evidence"
	"lifeboat/internal/phrase"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/source/mysql"
	"lifeboat/source/postgres"
	"lifeboat/source/sqlite"
	"lifeboat/verify"
)

// fork is an app for another reader of the same configuration: what an app notes of a reader is of one reader.
func (a *app) fork() *app {
	return &app{cfg: a.cfg, file: a.file, now: a.now, json: a.json, quiet: a.quiet, amid: a.amid, unlimited: a.unlimited, in: a.in, out: a.out, err: a.err, identity: a.identity,
		unverified: a.unverified, beside: a}
}

// scratchOf is the directory that drills restore into: that of the policy, or one for large files that outlive a start of the system.
func scratchOf(d config.Drill) string {
	if d.Scratch != "" {
		return d.Scratch
	}
	return filepath.Join("/var/tmp", "lifeboat-drills")
}

// stateDir is that of the configuration; empty where there is none.
func (a *app) stateDir() string {
	if cfg, err := a.config(); err == nil {
		return cfg.StateDir
	}
	return ""
}

// lab is where the database of a snapshot is started.
func (d *drilling) lab(ctx context.Context, w drillWay) (verify.Engine, error) {
	root := w.job.Tree.Root
	switch config.Engine(root.Engine) {
	case config.SQLite:
		m, err := sqlite.ParseManifest(root.Manifest)
		if err != nil {
			return nil, err
		}
		return &sqlite.Lab{Canary: m.Canary}, nil
	case config.Postgres:
		m, err := postgres.ParseManifest(root.Manifest)
		if err != nil {
			return nil, err
		}
		bin, err := postgres.Binaries(ctx, m.Version, "")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verify.ErrUnavailable, err)
		}
		whom, err := owner("", "postgres", true)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verify.ErrUnavailable, err)
		}
		return &postgres.Lab{Manifest: m, Replay: w.replay, Bin: bin, Owner: whom}, nil
	case config.MySQL:
		m, err := mysql.ParseManifest(root.Manifest)
		if err != nil {
			return nil, err
		}
		programs, err := mysql.FindPrograms(ctx, m, "", true)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verify.ErrUnavailable, err)
		}
		whom, err := owner("", "mysql", true)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verify.ErrUnavailable, err)
		}
		return &mysql.Lab{Manifest: m, Replay: w.replay, Programs: programs, Owner: whom}, nil
	case config.Files:
	}
	return nil, fmt.Errorf("%w: databases of the engine %s are not started by this version", verify.ErrUnavailable, root.Engine)
}

// probes are what the policy asks.
func (d *drilling) probes(w drillWay) verify.Probes {
	p := verify.Probes{Limit: d.rule.Drill.TimeLimit.Length(), Before: d.before, Same: d.equal}
	if p.Limit <= 0 {
		p.Limit = time.Minute
	}
	if w.replay.Last != nil {
		p.Until = w.replay.Last.Time
	}
	for _, c := range d.rule.Drill.Checks {
		a := verify.Assertion{Name: c.Name, SQL: c.SQL, Severity: evidence.Severity(c.Severity), Min: c.Min, Max: c.Max, Within: c.Within}
		if c.Equals != nil {
			a.Equals, a.Number = &c.Equals.Text, c.Equals.Number
		}
		if c.Matches != "" {
			a.Matches = regexp.MustCompile(c.Matches) // the configuration has compiled it
		}
		p.Assertions = append(p.Assertions, a)
	}
	return p
}

// result is what the daemon tells of a drill.
func (d *drilled) result() *daemon.DrillResult {
	r := d.Report
	out := &daemon.DrillResult{ID: r.ID, Policy: r.Policy.Name, Source: r.Policy.Source, Copy: r.Backup.Copy.Target, Result: string(r.Result)}
	out.Mode = r.Selection.Mode
	for _, f := range r.Findings[:min(len(r.Findings), 3)] {
		out.Detail += "; " + f.Text
	}
	return out
}

// pickPoint decides what is restored, as the policy selects, and says how much production would have lost.
func (d *drilling) pickPoint(ctx context.Context, r *restoring) (at string, err error) {
	list, err := r.snapshotsOf(ctx, d.reader, d.database)
	if err != nil {
		return "", err
	}
	rows, err := windowsAgain(ctx, d.reader, list)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("%w: %s has no snapshot of %s", restore.ErrRefused, d.name, d.database)
	}
	d.rpo(rows[0].Latest)
	if d.at != "" {
		d.report.Selection.Population = phrase.GivenPoint.Say()
		return d.at, nil
	}
	seed, err := seedOf(d.seed)
	if err != nil {
		return "", err
	}
	p, err := policies.PickPoint(policies.Select(d.rule.Drill.Select), seed, d.begin, d.rule.Drill.Window, reachOf(rows[0], list))
	s := &d.report.Selection
	s.Population = p.Population
	if p.Drawn {
		s.Seed = hex.EncodeToString(seed[:])
	}
	for _, e := range p.Excluded {
		s.Excluded = append(s.Excluded, evidence.Excluded(e))
	}
	for _, g := range rows[0].Gaps {
		d.report.Point.Gaps = append(d.report.Point.Gaps, phrase.Gap.Say(g.From.UTC().Format(time.RFC3339), g.To.UTC().Format(time.RFC3339), g.Reason))
	}
	switch {
	case err != nil:
		return "", err
	case p.Snapshot != "":
		return "snapshot:" + p.Snapshot, nil
	case p.At.IsZero():
		return "latest", nil
	}
	return p.At.UTC().Format(restore.Time), nil
}

// seedOf is the seed that was asked for, or a new one.
func seedOf(digits string) (seed [16]byte, err error) {
	if digits == "" {
		_, _ = rand.Read(seed[:]) // never fails
		return seed, nil
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(seed) {
		return seed, usagef("--seed %q: expected 32 hex digits", digits)
	}
	return [16]byte(b), nil
}

// reachOf is what can be restored of a source. Between two snapshots without log no moment counts: a time there means the snapshot before it.
func reachOf(w windowRow, list []repository.Snapshot) (out policies.DrillReach) {
	from := w.Earliest
	for _, g := range w.Gaps {
		if g.From.After(from) {
			out.Intervals = append(out.Intervals, policies.Interval{From: from, To: g.From})
		}
		out.Gaps = append(out.Gaps, policies.Gap{Interval: policies.Interval{From: g.From, To: g.To}, Reason: g.Reason})
		if g.To.After(from) {
			from = g.To
		}
	}
	if w.Latest.After(from) {
		out.Intervals = append(out.Intervals, policies.Interval{From: from, To: w.Latest})
	}
	for _, s := range list {
		out.Snapshots = append(out.Snapshots, policies.DrillSnapshot{ID: restore.FormatID(s.Seq), Taken: s.Taken})
	}
	return out
}
