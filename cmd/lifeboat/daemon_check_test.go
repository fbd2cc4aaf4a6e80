package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/testenv"
)

// everyCheck checks every copy every five minutes.
const everyCheck = "policies:\n  crm: {sources: [crm], schedule: {incremental: '0 * * * *', timezone: UTC}, check: {schedule: '*/5 * * * *'}}\n"

// TestDaemonChecks checks copies for a while, one of them on another host: no connection is left behind.
func TestDaemonChecks(t *testing.T) {
	t.Parallel()
	x, host := newFixture(t, "disk", "usb"), testenv.StartSSHD(t)
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n  usb: {type: local, path: %s}\n", x.path("disk"), x.path("usb"))+onSFTP(host, "vault"))
	x.want(0, "init", "--identity", x.path("key"))
	x.policy(everyCheck)
	l := x.daemon(fast())
	sockets := func() (n int) {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", l.cmd.Process.Pid))
		x.must(err)
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:") { // it may have been closed
				n++
			}
		}
		return n
	}
	checks := func(n int) {
		x.eventually(fmt.Sprint(n, " checks"), func() bool { return strings.Count(l.log.String(), "msg=checked target=offsite") >= n }, l.log)
	}
	checks(8)
	const some = 15 // of the job that runs now, and the daemon's own
	if n := sockets(); n > some {
		t.Errorf("%d connections are open after %d checks", n, 8)
	}
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
}

// TestDaemonCheckUnnoted takes from a daemon the place where checks are noted: it says so, and does not check without a pause.
func TestDaemonCheckUnnoted(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(everyMinute)
	x.must(os.WriteFile(x.path("state", "checks"), nil, 0o600))
	l := x.daemon() // the clock is the real one: a pause is a minute
	l.says("the copy on disk could not be checked")
	l.says("cannot be noted")
	x.must(os.Remove(x.path("state", "checks")))
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
	if n := strings.Count(l.log.String(), "msg=checked"); n > 0 {
		t.Errorf("%d checks were not noted", n)
	}
}
