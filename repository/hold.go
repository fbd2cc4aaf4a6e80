package repository

import (
	"context"
	"fmt"

	"lifeboat/journal"
	"lifeboat/restore"
)

// HoldSource keeps the snapshots of a source, up to one of them where through is not 0, and all of its log, until Release. It returns the number
// to release it by.
func (h *Host) HoldSource(ctx context.Context, source string, through uint64, reason string) (uint64, error) {
	return h.hold(ctx, journal.HoldBody{Source: h.Opaque(source), Through: through}, reason)
}

// HoldSnapshot keeps one snapshot until Release.
func (h *Host) HoldSnapshot(ctx context.Context, seq uint64, reason string) (uint64, error) {
	for _, e := range h.Chain().Snapshots() {
		if e.Seq == seq {
			return h.hold(ctx, journal.HoldBody{Snapshots: []uint64{seq}}, reason)
		}
	}
	return 0, fmt.Errorf("%w: there is no snapshot %s: `lifeboat snapshots` lists them", restore.ErrRefused, restore.FormatID(seq))
}

func (h *Host) hold(ctx context.Context, b journal.HoldBody, reason string) (uint64, error) {
	e, err := h.say(ctx, journal.Record{Type: journal.Hold, Reason: reason, Hold: &b})
	return e.Seq, err
}

// Release ends a hold.
func (h *Host) Release(ctx context.Context, hold uint64, reason string) error {
	for _, e := range h.Chain().Holds() {
		if e.Seq == hold {
			_, err := h.say(ctx, journal.Record{Type: journal.Release, Reason: reason, Release: &journal.ReleaseBody{Hold: hold}})
			return err
		}
	}
	return fmt.Errorf("%w: there is no hold %d, or it was released: `lifeboat hold list` lists them", restore.ErrRefused, hold)
}

// say commits a record that names nothing, and brings it to every copy.
func (h *Host) say(ctx context.Context, r journal.Record) (journal.Entry, error) {
	first, err := h.primary()
	if err != nil {
		return journal.Entry{}, err
	}
	e, err := h.commit(ctx, first, r)
	if err != nil {
		return e, err
	}
	return e, h.Replicate(ctx)
}

// Opaque stands for a source in public records.
func (h *Host) Opaque(source string) string { return h.keys.IDs.NewHasher().Source(source) }
