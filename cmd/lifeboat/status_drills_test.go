package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestStatusNamesDrills asks while a drill by hand is under way, once it was killed, and once that was reported.
func TestStatusNamesDrills(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.want(0, "backup", "crm")
	policy := func(checks string) {
		x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s, time_limit: 5m%s}}\n", x.path("scratch"), checks))
	}
	policy(`, checks: [{name: slow, sql: "with recursive c(n) as (select 1 union all select n+1 from c) select count(*) from c", min: 1}]`)
	log := &lockedBuffer{}
	cmd := program(t.Context(), "lifeboat", "-c", x.path("lifeboat.yaml"), "drill", "run", "crm", "--identity", x.path("key"))
	cmd.Stderr = log
	x.must(cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	x.eventually("the drill is under way", func() bool {
		found, err := filepath.Glob(x.path("scratch", "*", "data"))
		x.must(err)
		return len(found) > 0
	}, log)
	status := func(code int) (r statusReport) {
		t.Helper()
		x.must(json.NewDecoder(bytes.NewReader([]byte(x.want(code, "status", "--json").out))).Decode(&r))
		return r
	}
	r := status(0)
	if d := r.Underway; len(d) != 1 || d[0].Policy != "crm" || d[0].Source != "crm" || d[0].Target != "disk" || d[0].Kind != "manual" || d[0].By == "" || d[0].Since.IsZero() || d[0].Killed {
		t.Fatalf("under way: %+v", d)
	}
	if s := x.want(0, "status"); !strings.Contains(s.out, r.Underway[0].ID) || !strings.Contains(s.out, "under way for") {
		t.Errorf("it is not shown: %s", s)
	}
	if s := x.want(4, "drill", "run", "crm", "--identity", x.path("key")); !strings.Contains(s.err, "`lifeboat status` shows it") {
		t.Errorf("another drill: %s", s)
	}
	x.must(cmd.Process.Kill())
	_ = cmd.Wait()
	if d := status(3).Underway; len(d) != 1 || !d[0].Killed {
		t.Errorf("killed: %+v", d)
	}
	if s := x.want(3, "status"); !strings.Contains(s.err, "was killed, and what it left waits") {
		t.Errorf("a drill that was killed is not told of: %s", s)
	}
	policy("")
	x.want(0, "drill", "run", "crm", "--identity", x.path("key"))
	if d := status(0).Underway; len(d) != 0 { // the killed one failed, and the copy passed since
		t.Errorf("reported: %+v", d)
	}
}
