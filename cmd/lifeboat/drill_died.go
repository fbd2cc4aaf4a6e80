package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/internal/phrase"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/verify"
)

// drillFiles is where a host keeps what it must know of drills.
type drillFiles struct{ state, scratch string }

// unfinished is what is known of a drill from its beginning on: enough to report that it died.
type unfinished struct {
	Report  *evidence.Report  `json:"report"`
	Body    journal.DrillBody `json:"body"`
	Scratch string            `json:"scratch"`
}

// What a host keeps of drills in its state directory: one file for each that is under way, and what is locked while one is.
const (
	drillsDir   = "drills"
	drillsAlone = "drills.lock"
)

// alone makes sure that no other drill of this host is under way. Errors wrap restore.ErrRefused.
func (f drillFiles) alone() (*os.File, error) {
	l, err := os.OpenFile(filepath.Join(f.state, drillsAlone), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make sure that no other drill is under way: %w", err)
	}
	if err := unix.Flock(int(l.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: another drill is under way with this state directory: `lifeboat status` shows it; repeat when it has ended", restore.ErrRefused), l.Close())
	}
	return l, nil
}

func (f drillFiles) note(id string) string { return filepath.Join(f.state, drillsDir, id+".json") }

// begin notes that a drill has begun, durably: whatever it leaves is found by that.
func (f drillFiles) begin(u unfinished) (*verify.Locked, error) {
	u.Scratch = f.scratch
	b, err := json.Marshal(u)
	if err != nil {
		return nil, err
	}
	l, err := verify.Lock(f.note(u.Report.ID), b)
	if err != nil {
		return nil, fmt.Errorf("note that a drill begins: %w", err)
	}
	return l, nil
}

func (d *drilling) unfinished() unfinished { return unfinished{Report: d.report, Body: d.body} }

// died reports the drills that were killed, and removes what they left.
func (a *app) died(ctx context.Context) (out []*drilled, err error) {
	names, err := filepath.Glob(filepath.Join(a.cfg.StateDir, drillsDir, "*.json"))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	alone, err := drillFiles{state: a.cfg.StateDir}.alone()
	if err != nil {
		return nil, nil // one is under way, and the rest can wait for its end
	}
	defer alone.Close()
	for _, name := range names {
		l, err := verify.Hold(name)
		if errors.Is(err, os.ErrNotExist) || err == nil && l == nil {
			continue // it has just ended, or goes on
		}
		if err != nil {
			return out, err
		}
		done, err := a.bury(ctx, l)
		if err != nil {
			return out, errors.Join(err, l.Close())
		}
		if done != nil {
			out = append(out, done)
		}
	}
	return out, nil
}

// bury makes the report of a drill that was killed; nil where it had reported itself before.
func (a *app) bury(ctx context.Context, l *verify.Locked) (*drilled, error) {
	b, err := os.ReadFile(l.Name())
	var u unfinished
	if err == nil {
		err = json.Unmarshal(b, &u)
	}
	if err != nil || u.Report == nil || filepath.Base(l.Name()) != u.Report.ID+".json" {
		return nil, fmt.Errorf("%s does not say which drill was killed: %w: look for what it left in its scratch directory, and remove this file", l.Name(), errors.Join(err, crypto.ErrDamaged))
	}
	d := &drilling{app: a, now: a.now, report: u.Report, body: u.Body, files: drillFiles{a.cfg.StateDir, u.Scratch}}
	d.report.Errors = append(d.report.Errors, phrase.Killed.Say())
	d.tornDown(verify.ScratchOf(u.Scratch, u.Report.ID))
	chain, err := repository.KnownChain(a.cfg.StateDir)
	if err != nil { // the catalog is made anew by the next backup
		var r *repository.Reader
		if _, r, err = a.fork().reader(ctx, access{}); err != nil {
			return nil, err
		}
		chain = r.Chain
		leave(r)
	}
	if a.drillReported(chain, u.Report.ID) {
		return nil, l.End()
	}
	d.finish()
	d.report.Result = evidence.Fail
	done, err := a.conclude(chain, d.report, d.body, a.now())
	if err != nil {
		return nil, err
	}
	return done, l.End()
}

// drillReported tells whether a drill of this host is recorded, or waits to be.
func (a *app) drillReported(chain *journal.Chain, id string) bool {
	for _, d := range slices.Backward(repository.Drills(chain, repository.WaitingDrills(a.cfg.StateDir))) {
		b, err := repository.OwnReport(a.cfg.StateDir, d.Report)
		if err != nil {
			continue // of another host
		}
		if o, err := evidence.Open(b, ""); err == nil && o.Report.ID == id {
			return true
		}
	}
	return false
}
