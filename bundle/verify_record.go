package bundle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

// agree holds what a report says against what its record says.
func (v *verifier) agree(d *drill, r *evidence.Report) {
	var differ []string
	is := func(what string, ok bool, inReport, inRecord any) {
		if !ok {
			differ = append(differ, fmt.Sprintf("%s is %.80s in the report and %.80s in the record", what, shown(fmt.Sprint(inReport)), shown(fmt.Sprint(inRecord))))
		}
	}
	is("the repository", r.Environment.Repository == v.Repository, r.Environment.Repository, v.Repository)
	is("the result", string(r.Result) == d.Result, r.Result, d.Result)
	is("the mode", r.Selection.Mode == d.Mode, r.Selection.Mode, d.Mode)
	is("the time that was due", equalTime(r.Policy.Due, d.Due), text(r.Policy.Due), text(d.Due))
	is("what was missed before", slices.EqualFunc(r.Policy.Missed, d.Missed, time.Time.Equal), r.Policy.Missed, d.Missed)
	is("the RTO in ms", r.RTO.Actual == d.RTO, r.RTO.Actual, d.RTO)
	is("the RPO in ms", r.RPO.Actual == d.RPO, r.RPO.Actual, d.RPO)
	is("the size", r.Backup.Size == d.Size, r.Backup.Size, d.Size)
	is("the size of the log", r.Backup.LogSize == d.LogSize, r.Backup.LogSize, d.LogSize)
	is("the record of the snapshot", r.Backup.Record == v.hashOf(d.Snapshot), r.Backup.Record, v.hashOf(d.Snapshot))
	is("the kind of the drill", (r.Trigger.Kind == manual) == (d.Due == nil), r.Trigger.Kind, text(d.Due))
	is("who began it", r.Trigger.By == d.entry.By || journal.Plain(r.Trigger.By) == d.entry.By, r.Trigger.By, d.entry.By)
	for _, p := range r.Timeline {
		if p.Name != evidence.PhaseQueue {
			is("the time at which it began", !p.Start.Before(d.Began.Truncate(time.Microsecond)), p.Start, d.Began)
		}
	}
	is("the time at which it ended", !r.Issued.Before(d.Began) && !r.Issued.After(d.entry.Time.Add(day)), r.Issued, d.Began)
	if len(differ) > 0 {
		v.problem(ReportRecord, d.entry.Seq, reportFile(d.Report), "The report of record %d does not say what the record says: %s.", d.entry.Seq, strings.Join(differ, "; "))
	}
	v.byPolicy(d, r)
}

const day = 24 * time.Hour

func equalTime(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

func text(t *time.Time) string {
	if t == nil {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}

// hashOf is the hash of a record; empty for none, or one that is not there.
func (v *verifier) hashOf(seq uint64) string {
	if seq == 0 || seq > v.chain.Len() {
		return ""
	}
	return journal.Hash(v.chain.Entries()[seq-1].Raw)
}

// byPolicy looks whether the drill went by a policy that the journal has.
func (v *verifier) byPolicy(d *drill, r *evidence.Report) {
	if r.Policy.Digest != "" && digest([]byte(r.Policy.Text)) != r.Policy.Digest {
		v.problem(ReportRecord, d.entry.Seq, reportFile(d.Report), "The text of the policy in the report of record %d is not the one whose digest it states.", d.entry.Seq)
	}
	if texts := v.texts[d.Policy]; texts != nil && !texts[r.Policy.Digest] {
		v.problem(PolicyUnknown, d.entry.Seq, reportFile(d.Report), "The drill of record %d went by a text of the policy %s that the journal does not have.", d.entry.Seq, shown(r.Policy.Name))
	}
}

// placed looks where in the log a report stands: before its record, in a log that is the journal's, behind the drill before, under the key of that time.
func (v *verifier) placed(d *drill, r *evidence.Report) {
	file, seq, l := reportFile(d.Report), d.entry.Seq, r.Log
	switch {
	case l.Journal != crypto.KeyName(v.chain.Repository(), crypto.Writer):
		v.problem(ReportLog, seq, file, "The report of record %d is entered in another log, %s.", seq, shown(l.Journal))
	case l.Records == 0 || l.Records >= seq:
		v.problem(ReportLog, seq, file, "The report of record %d says that the log had %d records when it was signed: it cannot have been recorded behind them.", seq, l.Records)
	case !v.hasRoot(l.Records, l.Root):
		v.problem(Forked, seq, file, "When the report of record %d was signed, the first %d records of the journal were others than those in the bundle: the journal was rewritten.", seq, l.Records)
	default:
		v.signedThen(d, r)
	}
	v.follows(d, r)
}

// signedThen looks whether a report was signed by the key of the host whose drill it is: that which counted at its place in the log.
func (v *verifier) signedThen(d *drill, r *evidence.Report) {
	key := inForce(v.certs, r.Log.Records).Key
	if h := v.chain.DrillHost(d.host); h != nil { // no record of it is entered but while its key counts
		key = h.Key
	}
	switch {
	case r.Signer.Key != key:
		v.problem(ReportForged, d.entry.Seq, reportFile(d.Report), "The report of record %d is signed with a key that did not count when the log had %d records.", d.entry.Seq, r.Log.Records)
	case r.Log.Checkpoint == "":
		v.problem(ReportLog, d.entry.Seq, reportFile(d.Report), "The report of record %d carries no checkpoint of the log.", d.entry.Seq)
	}
}
