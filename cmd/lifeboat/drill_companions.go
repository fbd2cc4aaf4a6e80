package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/evidence"
	"lifeboat/internal/phrase"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/verify"
)

// companions are the snapshots of the policy's files that are nearest to the point. How near they are is judged.
func (d *drilling) companions(ctx context.Context, w drillWay) (out []verify.Companion, err error) {
	if d.mode != config.DrillFull {
		return nil, nil
	}
	point := w.snapshot.Taken
	if w.replay.Until.After(point) {
		point = w.replay.Until
	}
	for _, name := range d.rule.Sources {
		if s, _ := d.cfg.Source(name); s.Engine != config.Files {
			continue
		}
		list, err := d.reader.Snapshots(ctx, name)
		if err != nil {
			return nil, err
		}
		s := nearest(list, point)
		if s == nil {
			return nil, fmt.Errorf("%w: there is no snapshot of %s to go with %s", restore.ErrRefused, name, restore.FormatID(w.snapshot.Seq))
		}
		tree, err := d.reader.TreeOf(ctx, s.SnapshotBody)
		if err != nil {
			return nil, err
		}
		out = append(out, verify.Companion{Source: name, Snapshot: restore.FormatID(s.Seq), Skew: s.Taken.Sub(point),
			Restore: restore.Job{Tree: tree, Frames: d.reader.Frames, Names: []string{d.name}, IDs: d.reader.IDs}})
	}
	d.near(out)
	return out, nil
}

func nearest(list []repository.Snapshot, point time.Time) (found *repository.Snapshot) {
	for i, s := range list {
		if found == nil || s.Taken.Sub(point).Abs() < found.Taken.Sub(point).Abs() {
			found = &list[i]
		}
	}
	return found
}

// near judges how far the files are from the point: a database and files of different times refer to what the other does not have. They cannot be nearer than the
// policy takes them, nor need they be than its RPO.
func (d *drilling) near(all []verify.Companion) {
	allowed := max(d.rule.RPO.Length(), daemon.ScheduleOf(d.rule).Longest(d.now()))
	if len(all) == 0 || allowed == 0 {
		return
	}
	c := evidence.Check{ID: "companions", Kind: "companions", Severity: evidence.Warning, What: phrase.CompanionsNear.Say(), Expected: phrase.CompanionsWithin.Say(allowed), Verdict: evidence.Pass, Tables: []evidence.Table{}}
	c.Start = d.now().UTC()
	var far []string
	var most time.Duration
	for _, f := range all {
		if most = max(most, f.Skew.Abs()); f.Skew.Abs() > allowed {
			far = append(far, phrase.CompanionFar.Say(f.Source, f.Snapshot, f.Skew.Abs().Round(time.Millisecond)))
		}
	}
	if c.Observed = phrase.CompanionsWithin.Say(most.Round(time.Millisecond)); len(far) > 0 {
		c.Verdict, c.Why = evidence.Fail, strings.Join(far, "\n")
	}
	c.End = d.now().UTC()
	d.report.Checks = append(d.report.Checks, c)
}
