package bundle

import (
	"slices"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

// order is in which order the journal has the drills of a source that one host made. The chain of records proves that none is missing; that a report names the one before it
// says only what its signer knew of, which is less where drills ran at once or waited for their records.
type order struct {
	seqs    []uint64
	reports []string
	all     map[string]bool
}

// findDrills lists the drills of the journal.
func (v *verifier) findDrills() {
	first := map[string]*journal.Entry{}
	before := map[string]string{} // the drill before the first that names a report
	for i := range v.chain.Entries() {
		e := &v.chain.Entries()[i]
		if e.Drill == nil {
			continue
		}
		host := crypto.Writer
		if e.Via != nil {
			host = e.Via.Host
		}
		line := e.Drill.Source + " " + string(host)
		o := v.orders[line]
		if o == nil {
			o = &order{all: map[string]bool{}}
			v.orders[line] = o
		}
		d := drill{DrillBody: e.Drill, entry: e, host: host, order: o, previous: o.until(e.Seq - 1), again: first[e.Drill.Report] != nil}
		if d.again {
			d.previous = before[e.Drill.Report]
		} else {
			first[e.Drill.Report], before[e.Drill.Report] = e, d.previous
		}
		d.by = e.By
		if e.Drill.Due == nil {
			d.kind = manual
		}
		o.seqs, o.reports, o.all[e.Drill.Report] = append(o.seqs, e.Seq), append(o.reports, e.Drill.Report), true
		v.drills = append(v.drills, d)
	}
}

// until is the report of the last drill among the first records.
func (o *order) until(records uint64) string {
	if i, _ := slices.BinarySearch(o.seqs, records+1); i > 0 {
		return o.reports[i-1]
	}
	return ""
}

// follows looks whether the drill that a report names as the one before it is that, by its place in the log or by its record.
func (v *verifier) follows(d *drill, r *evidence.Report) {
	file, seq, l, o := reportFile(d.Report), d.entry.Seq, r.Log, d.order
	switch {
	case l.Previous == d.previous || l.Previous == o.until(l.Records):
	case l.Previous == "":
		v.problem(OutOfOrder, seq, file, "The report of record %d names no drill of the source before it, and the log had one when it was signed: its signer did not look at it. The journal has both.", seq)
	case o.all[l.Previous]:
		v.problem(OutOfOrder, seq, file, "The report of record %d names the report %.64s as the one before it, which the journal has at another place: drills of the source ran at once, or waited for their records. The journal has all of them.", seq, l.Previous)
	default:
		v.problem(ReportPrevious, seq, file, "The report of record %d names %.64q as the report of the drill of the source before it, and no record of the source has that: a drill was removed, or put in.", seq, shown(l.Previous))
	}
}

// reportedTwice finds two genuine reports with one ID. Those of one source are of a drill that was reported again after its process was killed: both are
// there for all to see, and which of them counts is not for a program to say. Drills of different sources have never one ID.
func (v *verifier) reportedTwice(d *drill, r *evidence.Report, seen *reportsSeen) {
	other := seen.ids[r.ID]
	if other == nil {
		seen.ids[r.ID] = d
	}
	switch {
	case other == nil || other.Report == d.Report: // which is told already
	case other.Source != d.Source:
		v.problem(ReportTwice, d.entry.Seq, reportFile(d.Report), "The reports of records %d and %d have the same ID %s, and are about different sources.", other.entry.Seq, d.entry.Seq, shown(r.ID))
	default:
		v.problem(ReportedTwice, d.entry.Seq, reportFile(d.Report), "The reports of records %d and %d have the same ID %s: the drill was reported twice, and counts as two. They came to %q and %q.", other.entry.Seq, d.entry.Seq, shown(r.ID), shown(other.Result), shown(d.Result))
	}
}
