package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestDaemonStarts starts a daemon where somebody works by hand: its supervisor is told that it waits, and it stops when it is told to.
func TestDaemonStarts(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(everyMinute)
	lock, err := os.OpenFile(x.path("state", "lock"), os.O_RDWR, 0)
	x.must(err)
	defer lock.Close()
	x.must(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	supervisor, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: x.path("notify"), Net: "unixgram"})
	x.must(err)
	defer supervisor.Close()
	l := x.daemon("NOTIFY_SOCKET=" + x.path("notify"))
	l.says("starting when the state directory is free")
	b := make([]byte, 100)
	n, err := supervisor.Read(b)
	x.must(err)
	if got := string(b[:n]); !strings.HasPrefix(got, "EXTEND_TIMEOUT_USEC=") {
		t.Errorf("the supervisor is told %s", got)
	}
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
}

// TestDaemonFiles leaves alone what a daemon may be writing while others work with its state directory; the next daemon removes it.
func TestDaemonFiles(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(everyMinute)
	writing := []string{x.path("state", ".daemon.json.tmp-1"), x.path("state", ".notify.json.tmp-1")}
	for _, path := range append(writing, x.path("state", ".targets.json.tmp-1")) {
		x.must(os.WriteFile(path, nil, 0o600))
	}
	x.want(0, "backup", "crm")
	left, err := filepath.Glob(x.path("state", ".*.tmp-*"))
	x.must(err)
	if !slices.Equal(left, writing) {
		t.Errorf("a backup leaves %v", left)
	}
	l := x.daemon()
	l.says("ready")
	if left, err = filepath.Glob(x.path("state", ".*.tmp-1")); err != nil || len(left) > 0 {
		t.Errorf("a daemon leaves %v, %v", left, err)
	}
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
}

// TestDaemonNonsense starts a daemon whose state says what cannot be, with a source that fails.
func TestDaemonNonsense(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(everyMinute)
	x.must(os.WriteFile(x.path("state", "daemon.json"), []byte(`{"failures": {"crm": {"count": -5}}}`), 0o600))
	x.must(os.Remove(x.path("crm.db")))
	l := x.daemon()
	l.says("backup failed")
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
}

// TestDaemonForgets stops a daemon that cannot write down what it knows: it says so, and has ended as it was told.
func TestDaemonForgets(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(everyMinute)
	l := x.daemon()
	l.says("backed up")
	x.must(os.RemoveAll(x.path("state", "daemon.json")))
	x.must(os.MkdirAll(x.path("state", "daemon.json", "x"), 0o700))
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
	l.says("the daemon's state cannot be kept")
}

// TestDaemonMute starts a daemon that cannot read a secret by which people are told: backups go on, status says so, and a reload reads it.
func TestDaemonMute(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy(everyMinute + "notify: [{dingtalk: 'http://127.0.0.1:1/robot', secret_file: " + x.path("secret") + "}, {webhook: 'http://127.0.0.1:1/x'}]\n")
	l := x.daemon()
	l.says("backed up")
	const mute = "not everybody can be notified: notify, number 1, by dingtalk: "
	if s := x.want(3, "status"); !strings.Contains(s.err, mute) {
		t.Errorf("status says %s", s.err)
	}
	x.must(os.WriteFile(x.path("secret"), []byte("x"), 0o600))
	x.must(l.cmd.Process.Signal(syscall.SIGHUP))
	x.eventually("everybody can be notified", func() bool { return !strings.Contains(x.run("status").err, mute) }, l.log)
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
}
