package repository

import (
	"context"

	"lifeboat/chunkstore"
	"lifeboat/journal"
)

// sweep records what was condemned a grace ago; deleting it is left to cleanAll.
func (h *Host) sweep(ctx context.Context, first *Copy) (bool, error) {
	due := h.due()
	if len(due.Packs)+len(due.Indexes)+len(due.Logs) == 0 {
		return false, nil
	}
	if _, err := h.commit(ctx, first, journal.Record{Type: journal.Sweep, Sweep: &due}); err != nil {
		return false, err
	}
	return true, h.Replicate(ctx)
}

// due lists what was condemned a grace ago and not swept yet. Time is the journal's: a clock that was set forward and
// back cannot shorten the grace below what the records show.
func (h *Host) due() (b journal.PacksBody) {
	fates := fatesIn(h.Chain())
	waits := func(e journal.Entry, name string) bool {
		f, ok := fates[name]
		return ok && !f.swept && f.by.Seq == e.Seq
	}
	for _, e := range h.Chain().Entries() {
		if e.Condemn == nil || h.Now().Before(e.Time.Add(grace)) {
			continue
		}
		for _, d := range e.Condemn.Packs {
			if waits(e, chunkstore.PackName(d)) {
				b.Packs = append(b.Packs, d)
			}
		}
		for _, d := range e.Condemn.Indexes {
			if waits(e, chunkstore.IndexName(d)) {
				b.Indexes = append(b.Indexes, d)
			}
		}
		for _, name := range e.Condemn.Logs {
			if waits(e, logPrefix+name) {
				b.Logs = append(b.Logs, name)
			}
		}
	}
	return b
}
