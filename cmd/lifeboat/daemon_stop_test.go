package main

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/daemon"
)

// TestDaemonStops stops a daemon whose backup hangs in the kernel, as it does where a disk has gone away: it ends all the same.
func TestDaemonStops(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(everyMinute)
	x.want(0, "backup", "crm")
	maps, err := filepath.Glob(x.path("state", "pagemaps", "*.map"))
	x.must(err)
	for _, path := range maps { // whoever opens it waits for somebody to write
		x.must(syscall.Unlink(path))
		x.must(syscall.Mkfifo(path, 0o600))
	}
	l := x.daemon()
	l.says("ready")
	x.eventually("a backup runs", func() bool {
		status, err := daemon.Ask(t.Context(), x.path("state"))
		return err == nil && slices.ContainsFunc(status.Jobs, func(j daemon.JobStatus) bool { return j.Began != nil && strings.Contains(j.What, "snapshot of") })
	}, l.log)
	ended := time.AfterFunc(2*time.Minute, func() { _ = l.cmd.Process.Kill() })
	defer ended.Stop()
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
	l.says("is abandoned")
}
