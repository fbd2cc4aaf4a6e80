package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/atomicfile"
	"lifeboat/internal/testenv"
	"lifeboat/policies"
)

// week is a policy that a week can try.
const week = `policies:
  crm:
    sources: [crm, crm-files]
    schedule: {full: "0 0 * * 0", incremental: "0 */6 * * *", timezone: UTC}
    logs: continuous
    targets: [disk, cloud, offsite]
    retention: {pitr: 2d, daily: 5d, allow_below_90d: a week is all there is}
    copies: {count: 3, media: 3, offsite: 1}
`

// TestDaemonWeek runs the policy of a live cluster and its files over a compressed week, with kills, restarts and a target that is away, and holds
// what there is in the end against the policy: copies, retention, and restores of points and snapshots.
func TestDaemonWeek(t *testing.T) {
	t.Parallel()
	store, host := testenv.StartS3(t), testenv.StartSSHD(t)
	store.Bucket("week", false)
	x, pg := newCluster(t, testenv.PostgresVersion(t, "15"))
	x.must(os.Mkdir(x.path("uploads"), 0o700))
	x.must(os.WriteFile(x.path("uploads", "logo"), []byte("first"), 0o600))
	b := strings.Replace(string(x.read("lifeboat.yaml")), "targets:\n", fmt.Sprintf("  crm-files: {engine: files, paths: [%s]}\ntargets:\n", x.path("uploads")), 1)
	b += fmt.Sprintf("  cloud: {type: s3, bucket: week, endpoint: %q, access_key: %s, secret_key: %s}\n", store.URL(), store.AccessKey, store.SecretKey)
	b += strings.Replace(onSFTP(host, "vault"), "path:", "offsite: true, media: tape, path:", 1) + week
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(b), 0o600))
	begin := time.Now().UTC().Truncate(6 * time.Hour).Add(6 * time.Hour)
	day := func(n float64) (passed time.Time) {
		passed = begin.Add(time.Duration(n * 24 * float64(time.Hour)))
		x.must(atomicfile.Write(x.path("clock"), []byte(time.Until(passed.Add(time.Minute)).String()), 0o600))
		return passed
	}
	clock := clockEnv + "=@" + x.path("clock")
	day(0)
	x.must(x.fastly(clock, 0, nil, "init"))

	e := &entries{pg: pg, named: map[string]int{}}
	l := x.daemon(clock)
	for at := 0.25; at < 7.5; at += 0.25 {
		due := day(at)
		e.add(t, 1)
		x.must(os.WriteFile(x.path("uploads", fmt.Sprint(at)), []byte("more"), 0o600))
		switch at {
		case 1:
			l.says("due=" + due.Format(time.RFC3339)) // of the first source, and the second is under way
			l.end(syscall.SIGKILL)
			l = x.daemon(clock)
		case 2:
			host.Kill()
		case 3:
			killServer(t, pg)
		case 4:
			host.Start()
		case 5:
			if code := l.end(syscall.SIGTERM); code != 0 {
				t.Fatalf("exit code %d: %s", code, l.log)
			}
			continue
		case 5.25: // half a day without
			continue
		case 5.5:
			l = x.daemon(clock)
		}
		x.eventually("both sources are backed up as of "+due.String(), func() bool { return x.served(due) == 2 }, l.log)
	}
	x.caught(pg)
	var status statusReport
	x.eventually("the policy is met", func() bool {
		return x.fastly(clock, 0, &status, "status", "--json") == nil
	}, l.log)
	for _, p := range status.Policies {
		if p.Verdict != "ok" || p.Have != (copiesStatus{3, 3, 1, 0}) {
			t.Errorf("the rule says %+v", p)
		}
	}
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, l.log)
	}

	x.weekKept()
	x.want(0, "check", "--identity", x.path("key"))
	dues := map[string]int{}
	for _, entry := range x.records("disk") {
		if entry.Snapshot != nil {
			dues[entry.Snapshot.Source+entry.Snapshot.Due.String()]++
			if dues[entry.Snapshot.Source+entry.Snapshot.Due.String()] > 1 {
				t.Errorf("%s was served twice", entry.Snapshot.Due)
			}
		}
	}
	newest := len(e.behind)
	for _, from := range []string{"disk", "cloud", "offsite"} {
		for point, want := range map[string]int{"latest": newest, "lsn:" + e.behind[newest-3]: newest - 2} {
			t.Run(from+" "+point, func(t *testing.T) {
				x.t = t
				dir, query := x.boot(pg, "--at", point, "--from", from)
				if got := consistent(t, query); got != want {
					t.Errorf("%d transactions came back, not %d", got, want)
				}
				testenv.StopPostgres(t, pg.Bin, dir)
			})
			x.t = t
		}
		to := filepath.Join(t.TempDir(), "files")
		x.want(0, "restore", "crm-files", "--identity", x.path("key"), "--to", to, "--from", from)
		if got, err := os.ReadFile(filepath.Join(to, x.path("uploads", "logo"))); err != nil || string(got) != "first" {
			t.Errorf("the file comes back as %q, %v", got, err)
		}
	}
}

// served counts the snapshots for a time of the schedule.
func (x *fixture) served(due time.Time) (n int) {
	for _, at := range x.dues() {
		if at.Equal(due) {
			n++
		}
	}
	return n
}

// fastly runs the program by a clock of the environment, and decodes what it prints.
func (x *fixture) fastly(clock string, code int, into any, args ...string) error {
	cmd := exec.CommandContext(x.t.Context(), "lifeboat", append([]string{"-c", x.path("lifeboat.yaml")}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", clock)
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		return fmt.Errorf("lifeboat %s: exit code %d: %s: %w", strings.Join(args, " "), got, out, err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(out, into)
}

// weekKept compares the snapshots that are left with what the policy keeps of all that were ever taken.
func (x *fixture) weekKept() {
	x.t.Helper()
	taken, dropped := map[string][]policies.Point{}, map[uint64]bool{}
	pruned := time.Time{}
	records := x.records("disk")
	for _, e := range records {
		if e.Snapshot != nil {
			taken[e.Snapshot.Source] = append(taken[e.Snapshot.Source], policies.Point{Seq: e.Seq, At: e.Time})
		}
		if e.Drop != nil {
			pruned = e.Time
			for _, seq := range e.Drop.Seqs() {
				dropped[seq] = true
			}
		}
	}
	if len(dropped) == 0 {
		x.t.Error("retention dropped nothing in a week")
	}
	two, five := 2*24*time.Hour, 5*24*time.Hour
	for source, points := range taken {
		if len(points) < 20 {
			x.t.Errorf("only %d snapshots of %s in a week", len(points), source)
		}
		days := map[string]bool{}
		for _, p := range points {
			day := p.At.Format(time.DateOnly)
			switch age := pruned.Sub(p.At); {
			case age < two && dropped[p.Seq]:
				x.t.Errorf("s%d is dropped, and lies in the window of pitr", p.Seq)
			case age < five && !days[day] && dropped[p.Seq]:
				x.t.Errorf("s%d is dropped, and was the first of %s", p.Seq, day)
			}
			days[day] = true
		}
	}
}
