package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/evidence"
)

// TestDrillClockIsSet drills while the clock of the host jumps back and forth by hours: durations stay what they are, and the report says so.
func TestDrillClockIsSet(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", x.path("scratch")))
	x.want(0, "backup", "crm")
	var asked atomic.Int64
	var out, said bytes.Buffer
	began := time.Now()
	a := &app{in: strings.NewReader(""), out: &out, err: &said, file: x.path("lifeboat.yaml"), now: func() time.Time {
		return time.Now().Add([]time.Duration{0, 3 * time.Hour, -2 * time.Hour}[asked.Add(1)/2%3])
	}}
	code := a.run(t.Context(), []string{"-c", a.file, "drill", "run", "crm", "--identity", x.path("key"), "--json"})
	took := time.Since(began)
	var r evidence.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || code != exitVerdict {
		t.Fatalf("exit code %d, %v: %s", code, err, &said)
	}
	if r.Result != evidence.Inconclusive || r.RPO.Verdict != evidence.Inconclusive || !strings.Contains(fmt.Sprint(r.Errors), "the clock of this host was set while the drill ran, by up to ") {
		t.Errorf("%s, RPO %+v: %q", r.Result, r.RPO, r.Errors)
	}
	speaks(t, r)
	if r.RTO.Verdict != evidence.Pass || r.RTO.Actual <= 0 || r.RTO.Actual > took.Milliseconds() {
		t.Errorf("RTO %+v, and all of it took %s", r.RTO, took)
	}
	var at time.Time
	for _, p := range r.Timeline {
		if p.Start.Before(at) || p.End.Before(p.Start) || p.End.Sub(r.Timeline[0].Start) > took {
			t.Errorf("the timeline goes back, or on for longer than it took: %+v", r.Timeline)
		}
		at = p.Start
	}
	if r.Issued.Before(at) || r.Issued.Sub(r.Timeline[0].Start) > took {
		t.Errorf("it was issued at %s, and its last phase begins at %s", r.Issued, at)
	}
	for _, c := range r.Checks {
		if c.End.Before(c.Start) || c.End.Sub(c.Start) > took {
			t.Errorf("a check from %s to %s", c.Start, c.End)
		}
	}
	x.want(0, "drill", "list")
}
