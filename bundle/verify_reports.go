package bundle

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

// drill is a drill of the journal, with what is known of its report.
type drill struct {
	*journal.DrillBody
	entry    *journal.Entry
	host     crypto.Role // that made it
	order    *order
	previous string // report of the drill of the source before, by that host
	missed   bool   // its report is not here
	again    bool   // a record before names the same report
	initiator
}

// initiator is who asked for a drill; kind is empty where that is not known.
type initiator struct{ kind, by string }

// content is what became of a file that claims to be a report.
type content struct {
	digest string
	opened *evidence.Opened
	err    error // it cannot be read, or is not genuine
}

// readReports holds each drill of the journal against its report, and each report against the journal.
func (v *verifier) readReports() error {
	v.findDrills()
	known := map[string]*drill{}
	for i := range v.drills {
		d := &v.drills[i]
		if d.again {
			v.problem(ReportedTwice, d.entry.Seq, reportFile(d.Report), "Record %d names the report that record %d has named already: one drill counts as two.", d.entry.Seq, known[d.Report].entry.Seq)
			continue
		}
		known[d.Report] = d
	}
	for _, digest := range sorted(v.a.digests(dirReports)) {
		if known[digest] == nil && v.whole {
			v.problem(ReportExtra, 0, reportFile(digest), "No record of the journal names the report %s: it was made up, or its record was removed.", digest)
		}
	}
	seen := reportsSeen{ids: map[string]*drill{}, names: map[string]string{}, opaque: map[string]string{}}
	return v.eachDrill(func(d *drill, c content) error { return v.compare(d, c, known, &seen) })
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// eachDrill opens reports on all cores, a few at a time, and calls f in the order of the records.
func (v *verifier) eachDrill(f func(*drill, content) error) error {
	for batch := range slices.Chunk(v.drills, 4*runtime.GOMAXPROCS(0)) {
		contents := make([]content, len(batch))
		var wait sync.WaitGroup
		limit := make(chan struct{}, runtime.GOMAXPROCS(0))
		for i := range batch {
			limit <- struct{}{}
			wait.Go(func() {
				contents[i] = v.openReport(batch[i].Report)
				<-limit
			})
		}
		wait.Wait()
		for i := range batch {
			if err := f(&batch[i], contents[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) openReport(named string) (c content) {
	if v.a.files[reportFile(named)] == nil {
		return c
	}
	b, err := v.a.read(reportFile(named))
	if err != nil {
		c.err = err
		return c
	}
	c.digest = evidence.Digest(b)
	c.opened, c.err = evidence.Open(b, v.Fingerprint)
	return c
}

// compare adds what became of a drill to the result.
func (v *verifier) compare(d *drill, c content, known map[string]*drill, seen *reportsSeen) error {
	inPeriod := !d.entry.Time.Before(v.manifest.Since)
	there := v.a.files[reportFile(d.Report)] != nil
	if !there && !inPeriod {
		return nil
	}
	before := v.forgeries
	r := ReportResult{SHA256: d.Report, Record: d.entry.Seq, At: d.entry.When(), Result: d.Result, Policy: d.Policy, Source: d.Source, Host: string(d.host), Mode: d.Mode, Due: d.Due, Reviews: []ReviewResult{}}
	r.RTO.Actual, r.RPO.Actual = d.RTO, d.RPO
	if d.missed = !there; d.missed {
		v.absent(d)
	} else {
		v.genuine(d, c, known)
	}
	if c.opened != nil && c.digest == d.Report {
		o := c.opened.Report
		d.initiator = initiator{o.Trigger.Kind, o.Trigger.By}
		r.ID, r.Policy, r.Source, r.Trigger, r.RTO, r.RPO = o.ID, o.Policy.Name, o.Policy.Source, o.Trigger.Kind, o.RTO, o.RPO
		v.agree(d, o)
		v.placed(d, o)
		v.alike(d, o, seen)
		r.Verified = v.forgeries == before
	}
	v.Reports = append(v.Reports, r)
	if r.Verified && v.o.Report != nil {
		c.opened.Trusted = v.Trusted // it was opened with the root of the bundle, which may be anybody's
		if err := v.o.Report(c.opened); err != nil {
			return fmt.Errorf("use report %s: %w", o(c).ID, err)
		}
	}
	return nil
}

func o(c content) *evidence.Report { return c.opened.Report }

// absent tells of a drill whose report is not in the bundle.
func (v *verifier) absent(d *drill) {
	if why, ok := v.unavailable(whatReport, d.Report); ok {
		v.problem(ReportUnavailable, d.entry.Seq, reportFile(d.Report), "The report of the drill of record %d, which came to %q, is missing; whoever made the bundle says: %s.", d.entry.Seq, shown(d.Result), why)
		return
	}
	v.problem(ReportLeftOut, d.entry.Seq, reportFile(d.Report), "The report of the drill of record %d, which came to %q, was left out of the bundle.", d.entry.Seq, shown(d.Result))
}

// genuine looks whether a file is the report that the record names, and signed by who may.
func (v *verifier) genuine(d *drill, c content, known map[string]*drill) {
	file := reportFile(d.Report)
	switch other := known[c.digest]; {
	case c.digest == d.Report:
	case other != nil:
		v.problem(ReportSwapped, d.entry.Seq, file, "In the place of the report of record %d stands that of record %d.", d.entry.Seq, other.entry.Seq)
		return
	default:
		v.problem(ReportAltered, d.entry.Seq, file, "The report of record %d is not the one that was recorded: it was altered or replaced.", d.entry.Seq)
	}
	if c.err != nil {
		v.problem(ReportForged, d.entry.Seq, file, "The report of record %d does not verify: %v.", d.entry.Seq, c.err)
	}
}

// reportsSeen is what reports must not contradict each other in.
type reportsSeen struct {
	ids    map[string]*drill // by ID of the drill
	names  map[string]string // of sources and policies, by what stands for them in records
	opaque map[string]string // the other way round
}

// alike finds two reports with one ID, and names that stand for different things.
func (v *verifier) alike(d *drill, r *evidence.Report, seen *reportsSeen) {
	v.reportedTwice(d, r, seen)
	for _, n := range [][2]string{{"source " + d.Source, "source " + r.Policy.Source}, {"policy " + d.Policy, "policy " + r.Policy.Name}} {
		name, named := seen.names[n[0]]
		opaque, used := seen.opaque[n[1]]
		if named && name != n[1] || used && opaque != n[0] {
			v.problem(ReportRecord, d.entry.Seq, reportFile(d.Report), "The report of record %d is about the %s, and other reports have another name for what its record is about.", d.entry.Seq, shown(n[1]))
		}
		seen.names[n[0]], seen.opaque[n[1]] = n[1], n[0]
	}
}
