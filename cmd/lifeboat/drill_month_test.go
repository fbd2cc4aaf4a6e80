package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/atomicfile"
	"lifeboat/internal/testenv"
)

// month is a policy whose drills a month can try. Times of commits are the server's, so only a snapshot has the time of the clock that is stepped.
const month = `policies:
  crm:
    sources: [crm]
    schedule: {incremental: "0 0 * * 6", timezone: UTC}
    logs: continuous
    rpo: 6h
    drill:
      schedule: "0 4 * * 6"
      rto: 30m
      select: latest
      from: rotate
      scratch: %s
      identity_on_host: accepted
      baseline: 30s
      checks: [{name: ledger, sql: "select count(*) from ledger", min: 1}, {name: sums, sql: "select count(*) from ledger where sum is null", equals: 0}]
`

// TestDrillMonth lets a daemon drill a live cluster week by week from three real targets in turn, and sabotages what it drills: each time the verdict is the
// right one, and the report says why.
func TestDrillMonth(t *testing.T) {
	t.Parallel()
	store, host := testenv.StartS3(t), testenv.StartSSHD(t)
	store.Bucket("month", false)
	line := testenv.StartProxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(host.Port)))
	host.Know("host_key", line)
	x, pg := newCluster(t, testenv.PostgresVersion(t, "15"))
	b := string(x.read("lifeboat.yaml")) + fmt.Sprintf("  cloud: {type: s3, bucket: month, endpoint: %q, access_key: %s, secret_key: %s}\n", store.URL(), store.AccessKey, store.SecretKey)
	b += strings.Replace(onSFTP(host, "vault"), fmt.Sprintf("port: %d", host.Port), fmt.Sprintf("port: %d", line.Port), 1) + fmt.Sprintf(month, x.path("scratch"))
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(b), 0o600))
	begin := time.Now().UTC().Truncate(24 * time.Hour)
	for begin.Weekday() != time.Saturday {
		begin = begin.AddDate(0, 0, 1)
	}
	at := func(week int, hour float64) (passed time.Time) {
		passed = begin.AddDate(0, 0, 7*(week+1)).Add(time.Duration(hour * float64(time.Hour)))
		x.must(atomicfile.Write(x.path("clock"), []byte(time.Until(passed.Add(time.Minute)).String()), 0o600))
		return passed
	}
	clock := clockEnv + "=@" + x.path("clock")
	at(-1, 0)
	x.must(x.fastly(clock, 0, nil, "init"))
	e := &entries{pg: pg, named: map[string]int{}}
	l := x.daemon(clock, "LIFEBOAT_IDENTITY_FILE="+x.path("key"))
	drills := func() (rows []drillRow) {
		x.must(x.fastly(clock, 0, &rows, "drill", "list", "--json"))
		return rows
	}

	log := filepath.Join(host.Home, "vault", "log")
	for week, w := range []struct {
		copy, result string
		sabotage     func()
		says         string // in a finding or an error
	}{
		{copy: "disk", result: "pass"},
		{copy: "cloud", result: "pass"},
		{copy: "offsite", result: "pass"},
		{copy: "disk", result: "fail", says: "public.far is missing", sabotage: func() { pg.Query("postgres", "DROP TABLE far") }},
		{copy: "cloud", result: "fail", says: "damaged", sabotage: func() { x.spoilPacks(filepath.Join(store.Dir, "month", "packs")) }},
		{copy: "offsite", result: "fail", says: "does not lead to its end", sabotage: func() {
			all := x.segments(log)
			x.must(os.Remove(all[len(all)-2]))
		}},
		{copy: "disk", result: "pass"},
	} {
		due := at(week, 0)
		x.eventually("it is backed up as of "+due.String(), func() bool { return x.served(due) == 1 }, l.log)
		if w.sabotage != nil && w.copy == "disk" {
			w.sabotage() // behind what was counted, and it is in the log
		}
		stand := len(x.segments(log))
		for range 3 {
			e.add(t, 1)
			x.caught(pg)
		}
		x.eventually("the log stands there, too", func() bool { return len(x.segments(log)) >= stand+3 }, l.log)
		if w.sabotage != nil && w.copy != "disk" {
			w.sabotage()
		}
		at(week, 4)
		var rows []drillRow
		x.eventually(fmt.Sprintf("drill %d is made", week+1), func() bool { rows = drills(); return len(rows) > week }, l.log)
		row := rows[week]
		var r evidence.Report
		x.must(x.fastly(clock, 0, &r, "drill", "show", row.Report, "--json"))
		speaks(t, r)
		if row.Copy != w.copy || row.Result != w.result || row.Due == nil || !row.Due.Equal(due.Add(4*time.Hour)) {
			t.Errorf("week %d: %+v, want %s from %s; %q, findings %+v", week, row, w.result, w.copy, r.Errors, r.Findings)
		}
		if text := fmt.Sprint(r.Errors, r.Checks); !strings.Contains(text, w.says) {
			t.Errorf("week %d: the report does not say %q: %s", week, w.says, text)
		}
		if r.Trigger.Kind != "scheduled" || r.Isolation.Teardown != evidence.Pass && w.result == "pass" || len(r.Trend) != week {
			t.Errorf("week %d: trigger %+v, isolation %+v, %d before it", week, r.Trigger, r.Isolation, len(r.Trend))
		}
	}
	if left, err := os.ReadDir(x.path("scratch")); err != nil || len(left) > 0 {
		t.Errorf("drills left %v, %v", left, err)
	}
	x.must(x.fastly(clock, 0, nil, "drill", "review", drills()[3].Report, "--as", "Ann Auditor", "--note", "the table was dropped on purpose"))
	var evidenceOf struct{ Verdict string }
	x.must(x.fastly(clock, 0, &evidenceOf, "drill", "bundle", "-o", x.path("bundle.zip"), "--json"))
	if evidenceOf.Verdict != "verified" {
		t.Errorf("the bundle of the month is %q", evidenceOf.Verdict)
	}
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, l.log)
	}

	// A target that became slow breaks the RTO, and is given up.
	x.policy(strings.Replace(fmt.Sprintf(month, x.path("scratch")), "rto: 30m", "rto: 10s", 1))
	line.Down(testenv.Fault{Rate: 10 << 10})
	var r evidence.Report
	x.must(x.fastly(clock, 3, &r, "drill", "run", "crm", "--from", "offsite", "--identity", x.path("key"), "--json"))
	speaks(t, r)
	if r.Result != evidence.Fail || !strings.Contains(fmt.Sprint(r.Errors), "it took too long") {
		t.Errorf("a slow target: %s, %q", r.Result, r.Errors)
	}
}

// spoilPacks flips a bit in the middle of each pack.
func (x *fixture) spoilPacks(dir string) {
	x.t.Helper()
	packs, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	x.must(err)
	if len(packs) == 0 {
		x.t.Fatalf("there are no packs in %s", dir)
	}
	for _, name := range packs {
		b, err := os.ReadFile(name)
		x.must(err)
		x.must(os.WriteFile(name, spoil("flip", b), 0o600))
	}
}

// segments are those of a copy's log, in their order.
func (x *fixture) segments(dir string) []string {
	x.t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*", "*-segment-*"))
	x.must(err)
	slices.Sort(all)
	return all
}

// TestDrillKilled kills a drill while its server runs: nothing of it is left running, and the next command removes the rest and reports it as failed.
func TestDrillKilled(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresVersion(t, "15"))
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s, time_limit: 5m, checks: [{name: slow, sql: \"select pg_sleep(120)\", matches: never}]}}\n", x.path("scratch")))
	x.want(0, "backup", "crm")
	path, err := realProgram()
	x.must(err)
	cmd := exec.Command(path, "-c", x.path("lifeboat.yaml"), "drill", "run", "crm", "--identity", x.path("key"))
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	x.must(cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	servers := func() int {
		found, err := filepath.Glob(x.path("scratch", "*", "data", "postmaster.pid"))
		x.must(err)
		return len(found)
	}
	x.eventually("the restored server runs", func() bool { return servers() == 1 }, log)
	x.must(cmd.Process.Kill())
	_ = cmd.Wait()
	x.eventually("nothing of it runs any more", func() bool {
		out, err := exec.Command("pgrep", "-f", x.path("scratch")).Output()
		return err != nil && len(out) == 0
	}, log)
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", x.path("scratch")))
	s := x.want(0, "drill", "run", "crm", "--identity", x.path("key"))
	if !strings.Contains(s.err, "was killed: it is reported as failed") {
		t.Errorf("the drill that was killed is not told of: %s", s)
	}
	var rows []drillRow
	x.must(json.Unmarshal([]byte(x.want(0, "drill", "list", "--json").out), &rows))
	if len(rows) != 2 || rows[0].Result != "fail" || rows[1].Result != "pass" {
		t.Errorf("the journal has %+v", rows)
	}
	if left, err := os.ReadDir(x.path("scratch")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if got := consistent(t, func(sql string) [][]string { return pg.Query("postgres", sql) }); got != 0 {
		t.Errorf("production has %d entries", got)
	}
}
