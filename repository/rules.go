package repository

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"lifeboat/journal"
	"lifeboat/restore"
)

// skew is how far the host's clock may be behind the journal before nothing is deleted any more.
const skew = 5 * time.Minute

// Droppable refuses what Forget should not do: an unknown snapshot, the newest of its source or the newest that can be restored, or any while the clock is
// in doubt. Errors wrap restore.ErrRefused.
func (h *Host) Droppable(seq uint64) error {
	all := h.Chain().Snapshots()
	var source string
	for _, e := range all {
		if e.Seq == seq {
			source = e.Snapshot.Source
		}
	}
	if source == "" {
		return fmt.Errorf("%w: there is no snapshot %s: `lifeboat snapshots` lists them", restore.ErrRefused, restore.FormatID(seq))
	}
	last, only, damaged := true, true, DamagedEverywhere(h.StateDir, h.Copies)
	for _, e := range all {
		if e.Snapshot.Source == source && e.Seq > seq {
			last, only = false, only && damaged[e.Seq]
		}
	}
	if last {
		return fmt.Errorf("%w: %s is the newest snapshot of its source: take another backup first", restore.ErrRefused, restore.FormatID(seq))
	}
	if only && !damaged[seq] {
		return fmt.Errorf("%w: %s is the newest snapshot of its source that can be restored, because those behind it are damaged on every copy: take another backup first", restore.ErrRefused, restore.FormatID(seq))
	}
	for _, e := range h.Chain().Holds() {
		if e.Hold.Holds(source, seq) {
			return fmt.Errorf("%w: %s is held since %s by %s (%s): `lifeboat hold release %d` ends that", restore.ErrRefused, restore.FormatID(seq), e.Time.Format(time.DateOnly), e.By, cmp.Or(e.Reason, "no reason was given"), e.Seq)
		}
	}
	return h.clockBehind()
}

// clockBehind refuses where the host's clock is behind the journal: one of the two is wrong.
func (h *Host) clockBehind() error {
	if behind := h.Chain().Time().Sub(h.Now()); behind > skew {
		return fmt.Errorf("%w: the host's clock is %s behind the journal: nothing is deleted until someone says which is right: `lifeboat audit clock`", restore.ErrRefused, behind.Round(time.Second))
	}
	return nil
}

// jump is how far the journal's time may go forward from one record to the next before retention no longer believes it. What is done less
// often may go on twice as long as it is planned to.
const jump = 24 * time.Hour

// clockJumped refuses where the journal's time went forward further than it should: with a clock that was set ahead, all that is kept for a
// time would look old. usual is the longest time between two runs of the source that is backed up most often.
func (h *Host) clockJumped(usual time.Duration) error {
	last := h.Chain().Entries()[0]
	for _, e := range h.Chain().Entries() {
		if gap := e.Time.Sub(last.Time); gap > max(jump, 2*usual) && !h.accepted(e.Seq) {
			return fmt.Errorf("%w: between record %d and %d the journal's time goes forward by %s: either nothing ran, or the clock was set ahead, and what is kept for a time would look old; where the time is right, say so: `lifeboat audit clock`", restore.ErrRefused, last.Seq, e.Seq, gap.Round(time.Minute))
		}
		last = e
	}
	return nil
}

// accepted reports whether somebody has said since a record that the clock is right.
func (h *Host) accepted(seq uint64) bool {
	for _, e := range h.Chain().Entries()[seq-1:] {
		if e.Type == journal.Clock {
			return true
		}
	}
	return false
}

// AcceptClock records that the host's clock is right: the journal's time goes on from it.
func (h *Host) AcceptClock(ctx context.Context, reason string) error {
	if !h.Now().Before(h.Chain().Time()) && h.clockJumped(0) == nil {
		return fmt.Errorf("%w: the host's clock is not behind the journal, nor did the journal's go ahead: there is nothing to accept", restore.ErrRefused)
	}
	first, err := h.primary()
	if err != nil {
		return err
	}
	r := journal.Record{Type: journal.Clock, Reason: reason, Clock: &journal.ClockBody{Was: h.Chain().Time()}}
	if _, err := h.commit(ctx, first, r); err != nil {
		return err
	}
	return h.Replicate(ctx)
}
