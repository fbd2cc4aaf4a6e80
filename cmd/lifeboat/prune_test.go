package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// TestPruneLog lets retention drop snapshots of a live cluster and the log between those that it keeps: each kept snapshot, and every point in the
// window, can be restored before and after the log is gone.
func TestPruneLog(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresVersion(t, "15"))
	b := append(x.read("lifeboat.yaml"), "policies:\n  crm: {sources: [crm], logs: continuous, schedule: {incremental: '0 0 */2 * *'}, retention: {pitr: 1d, monthly: 3mo, allow_below_90d: a test}}\n"...)
	x.must(os.WriteFile(x.path("lifeboat.yaml"), b, 0o600))
	e := &entries{pg: pg, named: map[string]int{}}
	var ids []string
	backup := func(after time.Duration) {
		x.shift = after
		var s struct{ ID string }
		x.must(json.Unmarshal([]byte(x.want(0, "backup", "crm", "--json").out), &s))
		ids = append(ids, s.ID)
	}
	log := func() {
		end := x.stream()
		e.add(t, 3)
		x.caught(pg)
		e.add(t, 2)
		x.caught(pg)
		end(syscall.SIGTERM)
	}
	day := 24 * time.Hour
	begin, now := time.Duration(0), time.Now()
	for now.Add(begin).Month() != now.Add(begin+7*day).Month() {
		begin += day // all of it is in one month, in which the first snapshot is kept
	}
	backup(begin)
	log()
	backup(begin + 2*day) // dropped
	log()
	backup(begin + 4*day) // the base
	base := len(e.behind)
	log()
	backup(begin + 5*day) // the window begins here
	log()
	segments := func() (n int) {
		t.Helper()
		list, err := filepath.Glob(x.path("disk", "log", "*", "*-segment-*"))
		x.must(err)
		return len(list)
	}
	before := segments()
	plan := x.want(0, "prune", "--dry-run").out
	if !strings.Contains(plan, "pieces of log that no kept point needs") || strings.Count(plan, " drop ") != 1 {
		t.Fatalf("of %v: %s", ids, plan)
	}
	x.want(0, "prune", "--yes")
	restores := func() {
		t.Helper()
		x.want(0, "check", "--identity", x.path("key"))
		for point, want := range map[string]int{"snapshot:" + ids[0]: 0, "snapshot:" + ids[2]: base, "lsn:" + e.behind[base]: base + 1, "latest": len(e.behind)} {
			t.Run(point, func(t *testing.T) { x.arrives(t, pg, point, want) })
			x.t = t
		}
	}
	restores()
	if now := segments(); now != before {
		t.Fatalf("%d of %d segments stand while readers may be under way", now, before)
	}
	x.shift = begin + 14*day // past the grace
	x.want(0, "backup", "crm")
	if now := segments(); now >= before || now == 0 {
		t.Errorf("%d of %d segments stand behind the grace", now, before)
	}
	restores()
	x.want(4, "restore", "crm", "--identity", x.path("key"), "--to", x.path("never"), "--at", "lsn:"+e.behind[6])
	if s := x.want(0, "window", "crm", "--identity", x.path("key")); !strings.Contains(s.out, "retention has dropped the log") {
		t.Errorf("the window does not say what became of the log: %s", s)
	}
	x.want(4, "prune", "--dry-run") // ten days in which nothing ran
}
