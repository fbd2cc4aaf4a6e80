package repository

import (
	"context"
	"fmt"
	"slices"
	"time"

	"lifeboat/capture"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// Keep is how long the snapshots of a source are kept.
type Keep struct {
	Source string
	policies.Retention
	Every time.Duration // the longest time between two of its runs by schedule; 0 is not known
}

// Pruning is what retention says of one source.
type Pruning struct {
	Source    string
	Decisions []policies.Decision
	Logs      []target.Object // of its log, that no kept point needs
}

// Prunable says what retention would drop; nothing is touched. Sources that are not in keep, and those without rules, keep everything. It is refused, with
// an error that wraps restore.ErrRefused, where the time is in doubt.
func (h *Host) Prunable(keep []Keep) ([]Pruning, error) {
	if err := h.clockBehind(); err != nil {
		return nil, err
	}
	var usual time.Duration // of the source that is backed up most often: something is written as often as that
	for _, k := range keep {
		if k.Every > 0 && (usual == 0 || k.Every < usual) {
			usual = k.Every
		}
	}
	if err := h.clockJumped(usual); err != nil {
		return nil, err
	}
	var out []Pruning
	fates := fatesIn(h.Chain())
	for _, k := range keep {
		if k.Zero() {
			continue
		}
		all := h.snapshotsOf(k.Source)
		points := Points(h.Chain(), h.StateDir, h.Copies, all)
		p := Pruning{Source: k.Source, Decisions: k.Decide(h.Chain().Time(), points)}
		var err error
		if p.Logs, err = h.unneededLogs(k, fates, all, points, p.Decisions); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Prune drops what Prunable said, a record for each source, and collects what nothing else needs.
func (h *Host) Prune(ctx context.Context, pruning []Pruning) (c Collected, err error) {
	var logs []target.Object
	for _, p := range pruning {
		body := &journal.DropBody{}
		for _, d := range p.Decisions {
			if !d.Keep {
				body.Snapshots = append(body.Snapshots, journal.Dropped{Seq: d.Seq, Why: d.Reasons[0]})
			}
		}
		logs = append(logs, p.Logs...)
		if len(body.Snapshots) == 0 {
			continue
		}
		first, err := h.primary()
		if err != nil {
			return c, err
		}
		if _, err := h.commit(ctx, first, journal.Record{Type: journal.Drop, Reason: "retention", Drop: body}); err != nil {
			return c, err
		}
	}
	if err := h.cleanMaps(); err != nil {
		return c, err
	}
	return h.Collect(ctx, logs...)
}

func (h *Host) snapshotsOf(source string) (out []journal.Entry) {
	opaque := h.Opaque(source)
	for _, e := range h.Chain().Snapshots() {
		if e.Snapshot.Source == opaque {
			out = append(out, e)
		}
	}
	return out
}

// Points are snapshots of one source as retention sees them, oldest first.
func Points(chain *journal.Chain, stateDir string, copies []*Copy, all []journal.Entry) []policies.Point {
	holds, damaged, latest := chain.Holds(), DamagedEverywhere(stateDir, copies), latest(chain)
	out := make([]policies.Point, len(all))
	for i, e := range all {
		out[i] = policies.Point{Seq: e.Seq, At: latest[e.Seq-1], Damaged: damaged[e.Seq]}
		if e.HostClock != nil {
			out[i].Clock = *e.HostClock
		}
		for _, hold := range holds {
			if hold.Hold.Holds(e.Snapshot.Source, e.Seq) {
				out[i].Holds = append(out[i].Holds, fmt.Sprintf("hold %d by %s: %s", hold.Seq, hold.By, hold.Reason))
			}
		}
	}
	for _, c := range copies {
		for i := range slices.Backward(all) {
			if c.Err == nil && all[i].Seq <= c.Position {
				out[i].Newest = append(out[i].Newest, c.Name)
				break
			}
		}
	}
	return out
}

// latest says of each record when it was written at the latest. While the host's clock is behind the journal, the journal's time stands still: only the next
// record that has the clock's own time tells more.
func latest(chain *journal.Chain) []time.Time {
	out, at := make([]time.Time, chain.Len()), chain.Time()
	for i, e := range slices.Backward(chain.Entries()) {
		if e.HostClock == nil {
			at = e.Time
		}
		out[i] = at
	}
	return out
}

// DamagedEverywhere lists the snapshots that the last full check of every copy found damaged.
func DamagedEverywhere(stateDir string, copies []*Copy) map[uint64]bool {
	count, out := map[uint64]int{}, map[uint64]bool{}
	for _, c := range copies {
		for _, seq := range LastCheck(stateDir, c.Name).Affects {
			if count[seq]++; count[seq] == len(copies) {
				out[seq] = true
			}
		}
	}
	return out
}

// stretch is log of which something is needed. Without an end it goes on, into every later line.
type stretch struct{ from, to snapshot.Pos }

// unneededLogs lists the segments of a source that no kept snapshot, and no point of time that is kept, needs: each kept snapshot needs its log from its
// beginning to its end, and the one from which the window of PITR is reached all that follows.
func (h *Host) unneededLogs(k Keep, fates fates, all []journal.Entry, points []policies.Point, decisions []policies.Decision) ([]target.Object, error) {
	for _, e := range h.Chain().Holds() {
		if e.Hold.Source == h.Opaque(k.Source) {
			return nil, nil // a hold of the source holds its log
		}
	}
	needed, err := neededLogs(all, points, decisions, k.PITR.Before(h.Chain().Time()))
	if err != nil || needed == nil {
		return nil, err
	}
	hasher := h.keys.IDs.NewHasher()
	of := map[string]uint64{}
	for n := range all[len(all)-1].Snapshot.Log + 1 {
		of[hasher.Log(k.Source, n)] = n
	}
	var out []target.Object
	for _, e := range h.Chain().Entries() {
		if e.Log == nil {
			continue
		}
		n, ours := of[e.Log.Source]
		if !ours {
			continue
		}
		for _, o := range e.Objects {
			name, ok := capture.ParseName(o.Name)
			if ok && !fates.unneeded(o.Name) && !slices.ContainsFunc(needed[n], func(s stretch) bool { return s.needs(name) }) {
				out = append(out, o)
			}
		}
	}
	return out, nil
}

// neededLogs lists, by the number of the log, what the kept snapshots need, and points of time from begin on; nil where none is kept.
func neededLogs(all []journal.Entry, points []policies.Point, decisions []policies.Decision, begin time.Time) (map[uint64][]stretch, error) {
	var base *journal.SnapshotBody
	var from snapshot.Pos // of the base
	needed := map[uint64][]stretch{}
	for i, e := range all {
		if !decisions[i].Keep {
			continue
		}
		s, err := stretchOf(e.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", restore.FormatID(e.Seq), err)
		}
		needed[e.Snapshot.Log] = append(needed[e.Snapshot.Log], s)
		if base == nil || !points[i].Damaged && !points[i].At.After(begin) {
			base, from = e.Snapshot, s.from // the newest sound one before the window, or the oldest there is
		}
	}
	if base == nil {
		return nil, nil
	}
	needed[base.Log] = append(needed[base.Log], stretch{from: from})
	for n := base.Log + 1; n <= all[len(all)-1].Snapshot.Log; n++ {
		needed[n] = []stretch{{}}
	}
	return needed, nil
}

func stretchOf(s *journal.SnapshotBody) (out stretch, err error) {
	if out.from, err = snapshot.ParsePos(s.From); err != nil {
		return out, err
	}
	out.to, err = snapshot.ParsePos(s.To)
	return out, err
}

// needs reports whether something of an object is in the stretch. What a history that was left behind holds comes before it.
func (s stretch) needs(n capture.Name) bool {
	if s.to.IsZero() && n.From.Line != s.from.Line {
		return n.From.Line > s.from.Line
	}
	return n.From.Line == s.from.Line && n.To.Offset > s.from.Offset && (s.to.IsZero() || n.From.Offset < s.to.Offset)
}
