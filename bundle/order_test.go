package bundle

import (
	"strings"
	"testing"

	"lifeboat/evidence"
	"lifeboat/journal"
)

// signed is a drill that waits for its record.
type signed struct {
	report *evidence.Report
	body   *journal.DrillBody
}

// begun signs the report of a drill as it was before others were recorded.
func (h *house) begun(change func(*evidence.Report)) signed {
	h.t.Helper()
	h.number++
	r, body := h.report(drilled{source: "crm", result: evidence.Pass, by: "lifeboat@backup"})
	if change != nil {
		change(r)
	}
	envelope := must(evidence.Sign(r, h.seed))(h.t)
	body.Report = evidence.Digest(envelope)
	h.texts[body.Report] = envelope
	return signed{r, body}
}

func (h *house) record(s signed) {
	h.t.Helper()
	h.last["crm"] = s.body.Report
	h.add(journal.Record{Type: journal.Drill, By: s.report.Trigger.By, Happened: &s.report.Issued, Drill: s.body})
}

// TestOrder has drills of one source at once: nothing was forged.
func TestOrder(t *testing.T) {
	for what, c := range map[string]struct {
		make func(h *house)
		want Kind
	}{
		"at once, the first ones": {func(h *house) {
			a, b := h.begun(nil), h.begun(nil)
			h.record(a)
			h.record(b)
			h.drill(drilled{})
		}, ""},
		"at once, behind another": {func(h *house) {
			h.drill(drilled{})
			a, b := h.begun(nil), h.begun(nil)
			h.record(a)
			h.record(b)
		}, ""},
		"the one that waits is named": {func(h *house) {
			a := h.begun(nil)
			b := h.begun(func(r *evidence.Report) { r.Log.Previous = a.body.Report })
			h.record(a)
			h.record(b)
		}, ""},
		"recorded the other way round": {func(h *house) {
			a := h.begun(nil)
			b := h.begun(func(r *evidence.Report) { r.Log.Previous = a.body.Report })
			h.record(b)
			h.record(a)
		}, OutOfOrder},
		"one long ago": {func(h *house) {
			_, first := h.drill(drilled{})
			h.drill(drilled{})
			h.record(h.begun(func(r *evidence.Report) { r.Log.Previous = first }))
		}, OutOfOrder},
		"none": {func(h *house) {
			h.drill(drilled{})
			h.record(h.begun(func(r *evidence.Report) { r.Log.Previous = "" }))
		}, OutOfOrder},
		"of another source": {func(h *house) {
			_, other := h.drill(drilled{source: "hr"})
			h.drill(drilled{})
			h.record(h.begun(func(r *evidence.Report) { r.Log.Previous = other }))
		}, ReportPrevious},
	} {
		h := newHouse(t)
		h.snapshot("hr")
		h.snapshot("crm")
		c.make(h)
		verdict := map[Kind]Verdict{"": Verified, OutOfOrder: Incomplete, ReportPrevious: Forged}[c.want]
		r := check(t, h.bundle(), Options{Trust: h.fingerprint()})
		if r.Verdict != verdict || c.want != "" && (len(r.Problems) != 1 || r.Problems[0].Kind != c.want) {
			t.Errorf("%s: %s, want %s by %q: %+v", what, r.Verdict, verdict, c.want, r.Problems)
		}
		for _, p := range r.Reports {
			if !p.Verified && verdict != Forged {
				t.Errorf("%s: the report of record %d is genuine", what, p.Record)
			}
		}
	}
}

// TestReportedTwice has a drill reported again after a kill.
func TestReportedTwice(t *testing.T) {
	for what, c := range map[string]struct {
		make func(h *house)
		want Kind
		word string
	}{
		"another report": {func(h *house) {
			h.drill(drilled{result: evidence.Fail})
			h.drill(drilled{change: func(r *evidence.Report, _ *journal.DrillBody) { r.ID = "d-1" }})
		}, ReportedTwice, `"fail" and "pass"`},
		"the same report": {func(h *house) {
			s := h.begun(nil)
			h.record(s)
			h.record(s)
			h.add(reviewRecord("bob@audit", "Bob", s.body.Report))
			h.drill(drilled{})
		}, ReportedTwice, "has named already"},
		"of two sources": {func(h *house) {
			h.drill(drilled{})
			h.drill(drilled{source: "hr", change: func(r *evidence.Report, _ *journal.DrillBody) { r.ID = "d-1" }})
		}, ReportTwice, "different sources"},
	} {
		h := newHouse(t)
		h.snapshot("hr")
		h.snapshot("crm")
		c.make(h)
		verdict := map[Kind]Verdict{ReportedTwice: Incomplete, ReportTwice: Forged}[c.want]
		r := check(t, h.bundle(), Options{Trust: h.fingerprint()})
		if r.Verdict != verdict || len(r.Problems) != 1 || r.Problems[0].Kind != c.want || !strings.Contains(r.Problems[0].Text, c.word) {
			t.Errorf("%s: %s, want %s by %q: %+v", what, r.Verdict, verdict, c.want, r.Problems)
		}
	}
}
