package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// TestDaemonGone takes out of the configuration a source and a target that are in trouble: people are told that it is over.
func TestDaemonGone(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	x.policy(everyMinute)
	l := x.daemon(fast())
	l.says("backed up")
	x.must(os.Rename(x.path("usb"), x.path("away")))
	l.says("target usb was missed")
	x.must(os.Remove(x.path("crm.db")))
	l.says("the backup of crm failed")
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk")))
	x.must(l.cmd.Process.Signal(syscall.SIGHUP))
	l.says("not configured any more: target usb was missed")
	l.says("not configured any more: the backup of crm failed")
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
}
