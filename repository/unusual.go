package repository

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// maxSamples bounds how many of a source's snapshots the newest is compared with.
const maxSamples = 2000

// anomalyReason begins the reason of a hold that Alarms sets.
const anomalyReason = "anomaly: "

// lookBack is how many of a source's newest snapshots are judged each time: some may have been taken by hand, or by a run that died behind its commit.
const lookBack = 100

// Alarm is a snapshot that is unusual.
type Alarm struct {
	Seq   uint64
	Found []policies.Anomaly
	Hold  uint64 // that was set for it; 0 where there is one already
}

// Alarms compares the newest snapshots of a source with those before each. Where something is far outside of what is usual, the older snapshots and the log are held
// until somebody releases the hold. Of snapshots that are unusual one behind the other the first is enough; a release answers for all that there are then. It
// returns those for which a hold was set, and the newest one where that is unusual.
func (h *Host) Alarms(ctx context.Context, source string) (out []Alarm, err error) {
	all, samples := h.samples(source)
	if len(all) < 2 {
		return nil, nil
	}
	held, answered := h.alarmsOf(source)
	first := max(1, len(all)-lookBack)
	before := first > 1 // whether the snapshot before is unusual, too: of one that is not looked at it may be
	for i := first; i < len(all); i++ {
		a := Alarm{Seq: all[i].Seq, Found: policies.Unusual(samples[max(0, i-maxSamples):i], samples[i])}
		again := before && h.Alarmed()[h.Opaque(source)] > 0
		if before = len(a.Found) > 0; !before {
			continue
		}
		if !again && a.Seq > answered && !held[all[i-1].Seq] {
			reason := fmt.Sprintf("%s%s: %s", anomalyReason, restore.FormatID(a.Seq), a.Found[0].Text)
			if a.Hold, err = h.HoldSource(ctx, source, all[i-1].Seq, reason); err != nil {
				return append(out, a), err
			}
		}
		if a.Hold > 0 || i == len(all)-1 {
			out = append(out, a)
		}
	}
	return out, nil
}

// samples are the snapshots of a source, dropped ones, too, as far back as is of use, and what is known of each.
func (h *Host) samples(source string) (all []journal.Entry, out []policies.Sample) {
	opaque := h.Opaque(source)
	for _, e := range h.Chain().Entries() {
		if e.Snapshot != nil && e.Snapshot.Source == opaque {
			all = append(all, e)
		}
	}
	all = all[max(0, len(all)-maxSamples-lookBack):]
	for i, e := range all {
		s := sample(e.Snapshot)
		if i > 0 {
			s.Since = max(e.Snapshot.Taken.Sub(all[i-1].Snapshot.Taken), 1) // a clock that was set back hides nothing
			s.Log = logBetween(all[i-1].Snapshot, e.Snapshot)
		}
		out = append(out, s)
	}
	return all, out
}

// alarmsOf tells of the holds that were ever set on a source: through which snapshots, and up to which record somebody has answered.
func (h *Host) alarmsOf(source string) (held map[uint64]bool, answered uint64) {
	opaque, holds := h.Opaque(source), map[uint64]bool{}
	held = map[uint64]bool{}
	for _, e := range h.Chain().Entries() {
		if isAlarm(e) && e.Hold.Source == opaque {
			holds[e.Seq], held[e.Hold.Through] = true, true
		}
		if e.Release != nil && holds[e.Release.Hold] {
			answered = e.Seq
		}
	}
	return held, answered
}

func isAlarm(e journal.Entry) bool {
	return e.Hold != nil && e.Hold.Source != "" && strings.HasPrefix(e.Reason, anomalyReason)
}

// Alarmed returns the first hold that Alarms set on each source and nobody has released, by the opaque name of the source.
func (h *Host) Alarmed() map[string]uint64 {
	out := map[string]uint64{}
	for _, e := range slices.Backward(h.Chain().Holds()) {
		if isAlarm(e) {
			out[e.Hold.Source] = e.Seq
		}
	}
	return out
}

func sample(s *journal.SnapshotBody) policies.Sample {
	return policies.Sample{At: s.Taken, Full: s.Kind == "full", Size: s.Size, Changed: s.Changed, New: s.New, Stored: s.Content, Log: -1}
}

// logBetween is how much log lies between the ends of two snapshots; negative where nobody knows.
func logBetween(a, b *journal.SnapshotBody) int64 {
	from, err1 := snapshot.ParsePos(a.To)
	to, err2 := snapshot.ParsePos(b.To)
	if order, ok := to.Compare(from); err1 != nil || err2 != nil || a.To == "" || a.Log != b.Log || !ok || order < 0 {
		return -1
	}
	return int64(to.Offset - from.Offset)
}
