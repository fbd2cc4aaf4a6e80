package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lifeboat/journal"
	"lifeboat/repository"
)

// results are what the restores on a copy came to, in their order.
func (x *fixture) results(name string) (out []string) {
	x.t.Helper()
	for _, e := range x.records(name) {
		if e.Restore != nil {
			out = append(out, e.Restore.Result)
		}
	}
	return out
}

func (x *fixture) wantResults(want ...string) {
	x.t.Helper()
	if got := strings.Join(x.results("disk"), ", "); got != strings.Join(want, ", ") {
		x.t.Errorf("recorded are %q, want %q", got, want)
	}
}

// TestRestoreWaitsForNobody restores while somebody holds the state directory, and where nothing can be noted: that never keeps a restore from its work.
func TestRestoreWaitsForNobody(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.want(0, "backup", "crm")
	lock, err := os.OpenFile(x.path("state", "lock"), os.O_RDWR, 0)
	x.must(err)
	x.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	x.restored()
	x.wantResults()
	if n, oldest := repository.Unrecorded(x.path("state")); n != 2 || oldest.IsZero() {
		t.Errorf("%d notes wait, since %s", n, oldest)
	}
	x.must(lock.Close())
	x.want(0, "copy")
	x.wantResults("begun", "done")

	x.must(os.RemoveAll(x.path("state", "outbox")))
	x.must(os.WriteFile(x.path("state", "outbox"), nil, 0o600))
	s := x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", x.path("out"))
	if strings.Count(s.err, "for the audit log") != 2 {
		t.Errorf("it does not say that it is in no audit log: %s", s)
	}
	x.must(os.Remove(x.path("state", "outbox")))
	x.wantResults("begun", "done")
}

// TestRestoreFails records what a restore came to that failed, without names of files.
func TestRestoreFails(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.want(0, "backup", "crm")
	for _, name := range x.objects("disk") {
		if b := x.read("disk", name); strings.HasPrefix(name, "packs/") && len(b) > 100<<10 {
			b[len(b)/2] ^= 1
			x.must(os.WriteFile(x.path("disk", name), b, 0o600))
		}
	}
	x.want(1, "restore", "crm", "--identity", x.path("key"), "--to", x.path("out"))
	x.wantResults("begun", "failed: damaged")
	for _, e := range x.records("disk") {
		if e.Restore != nil && (bytes.Contains(e.Raw, []byte("crm")) || e.Happened == nil || e.By == "" || e.From == "") {
			t.Errorf("%s", e.Raw)
		}
	}
}

// TestDaemonPolicies records each policy when the daemon begins and when it reads the configuration again, and one that is gone.
func TestDaemonPolicies(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy("policies:\n  crm: {sources: [crm], schedule: {incremental: '@yearly'}}\n")
	history := func() (out []string) {
		for _, e := range x.records("disk") {
			if e.Policy != nil {
				out = append(out, e.Policy.Policy+" "+e.Policy.Digest)
			}
		}
		return out
	}
	comes := func(l *life, n int) []string {
		t.Helper()
		x.eventually("the policies are recorded", func() bool { return len(history()) >= n }, l.log)
		return history()
	}
	l := x.daemon()
	comes(l, 1)
	x.must(l.cmd.Process.Signal(syscall.SIGHUP)) // nothing changed
	l.says("nothing changed")
	x.policy("policies:\n  sales: {sources: [crm], schedule: {incremental: '@yearly'}}\n")
	x.must(l.cmd.Process.Signal(syscall.SIGHUP))
	all := comes(l, 3)
	if len(all) != 3 || !strings.HasSuffix(all[2], " ") || strings.Fields(all[2])[0] != strings.Fields(all[0])[0] {
		t.Errorf("%q", all)
	}
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, l.log)
	}
	l = x.daemon()
	l.says("ready")
	x.want(0, "audit", "log", "--action", string(journal.Policy))
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, l.log)
	}
	if again := history(); len(again) != 3 {
		t.Errorf("a daemon that begins with the same: %q", again)
	}
	for _, e := range x.records("disk") {
		if e.Policy != nil && e.From != "daemon" {
			t.Errorf("from %q", e.From)
		}
	}
}
