package repository

import (
	"context"
	"fmt"
	"time"

	"lifeboat/journal"
	"lifeboat/restore"
)

// skew is how far the host's clock may be behind the journal before nothing is deleted any more.
const skew = 5 * time.Minute

// Droppable refuses what Forget should not do: an unknown snapshot, the only one of its source, or any while the clock is
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
	last := true
	for _, e := range all {
		last = last && (e.Snapshot.Source != source || e.Seq <= seq)
	}
	if last {
		return fmt.Errorf("%w: %s is the newest snapshot of its source: take another backup first", restore.ErrRefused, restore.FormatID(seq))
	}
	if behind := h.Chain().Time().Sub(h.Now()); behind > skew {
		return fmt.Errorf("%w: the host's clock is %s behind the journal: nothing is deleted until someone says which is right: `lifeboat audit clock`", restore.ErrRefused, behind.Round(time.Second))
	}
	return nil
}

// AcceptClock records that the journal's time was wrong; from then on the host's counts.
func (h *Host) AcceptClock(ctx context.Context, reason string) error {
	if !h.Now().Before(h.Chain().Time()) {
		return fmt.Errorf("%w: the host's clock is not behind the journal: there is nothing to accept", restore.ErrRefused)
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
