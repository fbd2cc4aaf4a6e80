package main

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
)

// mergeWithin is how long a restore that is done tries to have its records written; later somebody else writes them.
const mergeWithin = 15 * time.Second

// witness is what the audit log learns of the end of a restore.
type witness struct {
	noted    func(error) // how it ended
	recorded func()      // tries to bring into the journal what was noted
}

// witness notes for the audit log that a restore begins. There are two records, because one at the end alone could be kept from being written: whoever
// ends the process once the data is there would leave no trace. No restore fails because of this, nor waits for a target.
func (x *restoring) witness(ctx context.Context, r *repository.Reader, seq uint64) witness {
	if root := x.knownRoot(); root == "" || root != r.Chain.RootKey() {
		x.note("this machine keeps no state of the repository in which it could be noted: this restore will be in no audit log")
		return witness{func(error) {}, func() {}}
	}
	opaque, point := r.IDs.NewHasher().Source(x.source), publicPoint(x.at, x.before)
	note := func(result string) {
		at := x.now().UTC()
		err := repository.Note(x.cfg.StateDir, repository.Noted{Record: journal.Record{Repository: r.Chain.Repository(), Type: journal.Restore, By: by(), From: origin(), Happened: &at,
			Restore: &journal.RestoreBody{Source: opaque, Snapshot: seq, Point: point, Result: result}}})
		if err != nil {
			x.warn(err)
		}
	}
	note("begun")
	return witness{func(err error) { note(outcome(ctx, err)) }, func() { x.merge(ctx, x.access) }}
}

// merge has recorded what was noted, where that can be done right away. Otherwise the next command that writes to the repository does it.
func (a *app) merge(ctx context.Context, x access) {
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mergeWithin)
	defer cancel()
	if repository.IsDrillHost(a.cfg.StateDir) {
		if _, closing, err := a.drillHost(ctx, x, origin()); err == nil {
			_ = closing() // what is recorded stands
		}
		return
	}
	c, err := a.hostConfig(ctx, false)
	if err != nil {
		return
	}
	defer daemon.CloseAll(c.Copies)
	c.Warn = nil
	if h, err := repository.OpenHost(ctx, c); err == nil {
		_ = h.Close() // what is recorded stands
	}
}

// publicPoint is a point as everybody may read it: a name that somebody gave to one stays out.
func publicPoint(at string, before bool) string {
	if strings.HasPrefix(at, "name:") {
		at = "name"
	}
	if before {
		at = "before " + at
	}
	return journal.Plain(at)
}

// outcome is how a restore ended, in words without names: an error may tell those of files.
func outcome(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return "done"
	case ctx.Err() != nil:
		return "failed: interrupted"
	case errors.Is(err, crypto.ErrIdentity):
		return "failed: no identity fits"
	case errors.Is(err, syscall.ENOSPC):
		return "failed: no room"
	case errors.Is(err, restore.ErrRefused):
		return "failed: refused"
	case chunkstore.Damaged(err):
		return "failed: damaged"
	}
	return "failed"
}
