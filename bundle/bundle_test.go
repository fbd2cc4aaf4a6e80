package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lifeboat/evidence"
)

func TestBundle(t *testing.T) {
	h := year(t)
	b := h.bundle()
	if !bytes.Equal(b, h.bundle()) {
		t.Error("the same input made another bundle")
	}
	var opened []string
	r := check(t, b, Options{Trust: h.fingerprint(), Checkpoints: [][]byte{h.checkpoint()}, Report: func(o *evidence.Opened) error {
		opened = append(opened, o.Report.ID)
		return nil
	}})
	if r.Verdict != Verified || !r.Trusted || len(r.Problems) > 0 || len(r.Unverified) > 0 {
		t.Fatalf("%s, trusted %v: %+v %v", r.Verdict, r.Trusted, r.Problems, r.Unverified)
	}
	if want := (Results{Total: 6, Pass: 5, Fail: 1}); r.Counts.Drills != want || len(r.Reports) != 6 || fmt.Sprint(opened) != "[d-1 d-2 d-3 d-4 d-5 d-6]" {
		t.Errorf("drills %+v, %d reports, opened %v", r.Counts.Drills, len(r.Reports), opened)
	}
	if f := r.Reports[2]; f.Result != "fail" || f.ID != "d-3" || f.Policy != "gold" || f.RTO.Target != 600_000 || !f.Verified {
		t.Errorf("the failed one is %+v", f)
	}
	if last := r.Reports[5]; len(last.Reviews) != 1 || last.Reviews[0].As != "Bob" || last.Trigger != manual {
		t.Errorf("the last one is %+v", last)
	}
	var states []DueState
	for _, d := range r.Due {
		states = append(states, d.State)
	}
	if fmt.Sprint(states) != "[served served missed served served served]" || r.Due[2].Policy != "gold" {
		t.Errorf("due: %+v", r.Due)
	}
	if len(r.Kept) != 1 || !r.Kept[0].Agrees {
		t.Errorf("checkpoints: %+v", r.Kept)
	}
	untrusted := func(o *evidence.Opened) error {
		if o.Trusted {
			t.Error("without a fingerprint a report is trusted")
		}
		return nil
	}
	if got := check(t, b, Options{Report: untrusted}); got.Trusted || got.Verdict != Verified {
		t.Errorf("without a fingerprint: %v %s", got.Trusted, got.Verdict)
	}
}

// TestSince hides a failed drill by a later beginning: the period and the counts show it.
func TestSince(t *testing.T) {
	h := year(t)
	in := h.input()
	in.Since = start.Add(4 * week)
	r := check(t, pack(t, in), Options{Trust: h.fingerprint()})
	if r.Verdict != Verified || !r.Period.Since.Equal(in.Since) || r.Counts.Before != (Results{Total: 3, Pass: 2, Fail: 1}) || r.Counts.Drills != (Results{Total: 3, Pass: 3}) {
		t.Fatalf("%s from %s: %+v %+v", r.Verdict, r.Period.Since, r.Counts, r.Problems)
	}
	if len(r.Reports) != 3 || len(r.Due) != 2 {
		t.Errorf("%d reports, due %+v", len(r.Reports), r.Due)
	}
	// The same by changing the manifest alone.
	all := files(t, h.bundle())
	all[fileManifest] = bytes.Replace(all[fileManifest], []byte(`"until"`), []byte(`"since": "2026-03-29T00:00:00Z", "until"`), 1)
	if r := check(t, bundleOf(t, all), Options{Trust: h.fingerprint()}); !r.Has(BadManifest) || r.Counts.Before.Fail != 1 {
		t.Errorf("%+v", r.Problems)
	}
}

// TestClockBehind makes a bundle on a host whose clock is behind the journal.
func TestClockBehind(t *testing.T) {
	h := year(t)
	in := h.input()
	in.Made = h.chain.Time().Add(-time.Hour)
	if r := check(t, pack(t, in), Options{Trust: h.fingerprint()}); r.Verdict != Verified || !r.Made.Equal(in.Made) || !r.Period.Until.Equal(h.chain.Time()) {
		t.Errorf("%s until %s: %+v", r.Verdict, r.Period.Until, r.Problems)
	}
	in.Sign = newHouse(t).signText
	if err := Write(&bytes.Buffer{}, in); err == nil || !strings.Contains(err.Error(), "sign the manifest") {
		t.Errorf("signed by another key: %v", err)
	}
}

// TestWords reads what people are shown.
func TestWords(t *testing.T) {
	h := year(t)
	for _, c := range []struct {
		o    Options
		good bool
		want []string
	}{
		{Options{Trust: h.fingerprint()}, true, []string{"VERIFIED: ", "6: 5 passed, 1 failed, 0 inconclusive", "d-3 ", "FAIL", "3m12.2s of 10m0s", "Bob", "6 times: 5 served, 1 missed and said so", "none that you kept"}},
		{Options{}, false, []string{"ORIGIN UNVERIFIED: ", "not compared"}},
		{Options{Trust: "x"}, false, []string{"FORGED", "PROBLEMS\n- origin: "}},
	} {
		r := check(t, h.bundle(), c.o)
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		for _, w := range c.want {
			if !strings.Contains(b.String(), w) || r.Good() != c.good {
				t.Errorf("good %v, %q is not in\n%s", r.Good(), w, b.String())
			}
		}
	}
}

func TestUnavailable(t *testing.T) {
	h := year(t)
	failed := h.chain.Entries()[9]
	for _, e := range h.chain.Entries() {
		if e.Drill != nil && e.Drill.Result == "fail" {
			failed = e
		}
	}
	delete(h.texts, failed.Drill.Report)
	in := h.input()
	var missing *UnavailableError
	if err := Write(&bytes.Buffer{}, in); !errors.As(err, &missing) || missing.SHA256 != failed.Drill.Report || !strings.Contains(err.Error(), failed.Drill.Report) {
		t.Fatalf("error %v", err)
	}
	in.ListUnavailable = true
	r := check(t, pack(t, in), Options{Trust: h.fingerprint()})
	if r.Verdict != Incomplete || !r.Has(ReportUnavailable) || len(r.Problems) != 1 || r.Problems[0].Record != failed.Seq || !strings.Contains(r.Problems[0].Text, `"fail"`) {
		t.Errorf("%s: %+v", r.Verdict, r.Problems)
	}
}

// TestMissed leaves out a drill that no later one owns up to.
func TestMissed(t *testing.T) {
	h := newHouse(t)
	h.policy("gold", "30 4 * * 0", "Europe/Berlin") // before and behind the change of the clocks on 29 March
	h.snapshot("crm")
	for _, due := range []string{"2026-03-08T03:30:00Z", "2026-03-29T02:30:00Z"} {
		at, err := time.Parse(time.RFC3339, due)
		if err != nil {
			t.Fatal(err)
		}
		h.now = at.Add(time.Minute)
		h.drill(drilled{due: &at})
	}
	h.now = time.Date(2026, 4, 5, 3, 0, 0, 0, time.UTC)
	h.snapshot("crm")
	r := check(t, h.bundle(), Options{})
	got := ""
	for _, d := range r.Due {
		got += d.At.Format("0102T15:04 ") + string(d.State) + "; "
	}
	if got != "0301T03:30 silent; 0308T03:30 served; 0315T03:30 silent; 0322T03:30 silent; 0329T02:30 served; 0405T02:30 pending; " || r.Verdict != Incomplete || !r.Has(DrillMissed) {
		t.Errorf("%s %s%+v", r.Verdict, got, r.Problems)
	}
	h.policy("gold", "", "UTC") // by hand only, from now on
	h.now = h.now.Add(4 * week)
	if r := check(t, h.bundle(), Options{}); len(r.Due) != 6 {
		t.Errorf("%+v", r.Due)
	}
	h.policy("gold", "0 4 * * *", "Local")
	if r := check(t, h.bundle(), Options{}); !r.Has(PolicyUnknown) {
		t.Errorf("%+v", r.Problems)
	}
}

// bobBySudo ran a drill.
const bobBySudo = "root (bob by sudo)@vm"

// TestReview has the one who ran a drill review it, and somebody review what there never was.
func TestReview(t *testing.T) {
	for what, c := range map[string]struct {
		ran    string
		review func(report string) (by, as, of string)
		good   bool
	}{
		"own":     {"ann@ops", func(report string) (string, string, string) { return "ann@ops", "Somebody", report }, false},
		"as":      {"ann@ops", func(report string) (string, string, string) { return "root@ops", "Ann", report }, false},
		"unknown": {"ann@ops", func(string) (string, string, string) { return "bob@ops", "Bob", digest(nil) }, false},
		"by sudo": {bobBySudo, func(report string) (string, string, string) { return "bob@vm", "Somebody", report }, false},
		"as who used sudo": {bobBySudo, func(report string) (string, string, string) {
			return "root (ann by sudo)@vm", "Bob", report
		}, false},
		"both by sudo": {bobBySudo, func(report string) (string, string, string) { return "root (ann by sudo)@vm", "Ann", report }, true},
	} {
		h := newHouse(t)
		h.snapshot("crm")
		_, report := h.drill(drilled{by: c.ran})
		by, as, of := c.review(report)
		h.add(reviewRecord(by, as, of))
		if r := check(t, h.bundle(), Options{}); (r.Verdict == Verified) != c.good || r.Has(BadReview) == c.good {
			t.Errorf("%s: %s %+v", what, r.Verdict, r.Problems)
		}
	}
}
