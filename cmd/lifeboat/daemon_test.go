package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lifeboat/daemon"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/target/local"
)

// life is a daemon that runs as a process of its own.
type life struct {
	x   *fixture
	cmd *exec.Cmd
	log *lockedBuffer
}

// lockedBuffer can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// daemon starts one, with more environment, and flags. The test ends it.
func (x *fixture) daemon(more ...string) *life {
	x.t.Helper()
	l := &life{x: x, log: &lockedBuffer{}}
	l.cmd = exec.Command("lifeboat", "-c", x.path("lifeboat.yaml"), "daemon")
	l.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	for _, s := range more {
		if strings.HasPrefix(s, "--") {
			l.cmd.Args = append(l.cmd.Args, s)
		} else {
			l.cmd.Env = append(l.cmd.Env, s)
		}
	}
	l.cmd.Stderr = l.log
	if x.as != nil { // who may not get to the other program
		path, err := realProgram()
		x.must(err)
		l.cmd.Path, l.cmd.SysProcAttr = path, &syscall.SysProcAttr{Credential: x.as}
	}
	x.must(l.cmd.Start())
	x.t.Cleanup(func() { _ = l.cmd.Process.Kill() }) // most ended before
	return l
}

// says waits until the log has a text.
func (l *life) says(text string) {
	l.x.t.Helper()
	l.x.eventually("the daemon says "+text, func() bool { return strings.Contains(l.log.String(), text) }, l.log)
}

// eventually waits for something that takes as long as the machine needs.
func (x *fixture) eventually(what string, ok func() bool, log fmt.Stringer) {
	x.t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.t.Fatalf("in five minutes it does not come to this: %s\n%s", what, log)
}

// end sends a signal and returns the exit code, -1 for a signal that killed it.
func (l *life) end(s syscall.Signal) int {
	l.x.t.Helper()
	l.x.must(l.cmd.Process.Signal(s))
	_ = l.cmd.Wait() // the code is what counts
	return l.cmd.ProcessState.ExitCode()
}

// policy adds policies, and what else there is at the top level, to the configuration.
func (x *fixture) policy(text string) {
	x.t.Helper()
	b := x.read("lifeboat.yaml")
	if i := bytes.Index(b, []byte("policies:")); i > 0 {
		b = b[:i]
	}
	x.must(os.WriteFile(x.path("lifeboat.yaml"), append(b, text...), 0o600))
}

// records reads the journal of a copy.
func (x *fixture) records(name string) []journal.Entry {
	x.t.Helper()
	t, err := local.Open(x.path(name))
	x.must(err)
	defer t.Close()
	r, err := repository.Open(x.t.Context(), t)
	x.must(err)
	x.must(r.Broken)
	return r.Chain.Entries()
}

// Lines for journald begin with their priority; the time is its own.
func TestDaemonLog(t *testing.T) {
	for _, test := range []struct{ stream, format, want string }{
		{"8:1", "text", "<3>level=ERROR msg=full source=crm\n<4>level=WARN msg=late\n<6>level=INFO msg=ready time=now level=high\n"},
		{"8:1", "json", `{"level":"ERROR","msg":"full","source":"crm"}` + "\n" + `{"level":"WARN","msg":"late"}` + "\n" + `{"level":"INFO","msg":"ready","time":"now","level":"high"}` + "\n"},
		{"", "text", "level=ERROR msg=full"},
	} {
		t.Setenv("JOURNAL_STREAM", test.stream)
		var out bytes.Buffer
		log, err := logger(&out, test.format, false)
		if err != nil {
			t.Fatal(err)
		}
		log.Error("full", "source", "crm")
		log.Warn("late")
		log.Debug("nobody reads this")
		log.Info("ready", slog.String("time", "now"), slog.String("level", "high"))
		if got := out.String(); !strings.Contains(got, test.want) || strings.HasPrefix(got, "time=") != (test.stream == "") {
			t.Errorf("%s:\n%s", test.format, got)
		}
	}
}

// everyMinute is a schedule that a slow machine falls behind, which rpo allows.
const everyMinute = "policies:\n  crm: {sources: [crm], rpo: 1d, schedule: {incremental: '* * * * *', full: '0 * * * *', timezone: UTC}, retention: {pitr: 2d, allow_below_90d: a test}}\n"

// fast is an environment in which a minute passes every second from now on.
func fast() string { return fastEnv + "=60 " + time.Now().UTC().Format(time.RFC3339Nano) }

// TestDaemonKilled kills a daemon at random moments: no time of its schedule is served twice, the newest is served in the end, and what it left
// is whole.
func TestDaemonKilled(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	x.policy(everyMinute)
	clock := fast()
	begin := time.Now()
	l := x.daemon(clock)
	l.says("backed up")
	life := max(1500*time.Millisecond, 2*time.Since(begin)) // of which a backup is the second half
	r := rand.New(rand.NewPCG(11, 12))
	for range max(20, soakTimes(1000)) {
		if l.end(syscall.SIGKILL) != -1 {
			t.Fatalf("it ended by itself: %s", l.log)
		}
		l = x.daemon(clock)
		time.Sleep(time.Duration(r.Int64N(int64(life))))
	}
	l.says("backed up")
	last := func() time.Time { return x.dues()[0] }
	before := last()
	x.eventually("it serves the schedule", func() bool { return last().After(before.Add(2*time.Minute)) && len(x.dues()) >= 10 }, l.log)
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, l.log)
	}
	dues := x.dues()
	for i, due := range dues[1:] {
		if !due.Before(dues[i]) {
			t.Errorf("%s was served twice, or behind a later one", due)
		}
	}
	x.want(0, "check", "--identity", x.path("key"))
	if got := x.restored(); !bytes.Equal(got, x.read("crm.db")) {
		t.Error("what comes back is not the database")
	}
}

// dues are the times of the schedule that were served, the newest first.
func (x *fixture) dues() (out []time.Time) {
	x.t.Helper()
	for _, e := range slices.Backward(x.records("disk")) {
		if e.Snapshot != nil && e.Snapshot.Due != nil {
			out = append(out, *e.Snapshot.Due)
		}
	}
	return out
}

// TestDaemonLives is a day in the life of a daemon: it is alone, tells how it is, reads its configuration again, and stops.
func TestDaemonLives(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	x.policy(everyMinute)
	l := x.daemon(fast())
	l.says("backed up")

	if s := x.want(4, "daemon"); !strings.Contains(s.err, "a daemon runs with it") {
		t.Errorf("the second daemon says %s", s)
	}
	var status struct{ Daemon *daemon.Status }
	var s said
	x.eventually("status is good", func() bool { s = x.run("status", "--json"); return s.code == 0 }, l.log) // while a copy follows, it is not
	x.must(json.Unmarshal([]byte(s.out), &status))
	if d := status.Daemon; d == nil || d.PID != l.cmd.Process.Pid || !d.Ready || len(d.Sources) != 1 || d.Sources[0].Next == nil || len(d.Targets) != 2 {
		t.Fatalf("its status is %+v", status.Daemon)
	}
	if s := x.run("status"); !strings.Contains(s.out, "NEXT RUN") {
		t.Errorf("status says %s", s)
	}
	x.eventually("a backup by hand gets its turn beside it", func() bool { return x.run("backup", "crm").code == 0 }, l.log)

	x.policy("policies: {crm: {sources: [nobody]}}\n")
	x.must(l.cmd.Process.Signal(syscall.SIGHUP))
	l.says("the one before stays in use")
	if s := x.want(2, "status"); !strings.Contains(s.err, "nobody") {
		t.Errorf("status with a configuration that is wrong says %s", s)
	}
	x.policy(strings.Replace(everyMinute, "0 * * * *", "30 * * * *", 1) + "notify: [{webhook: 'http://127.0.0.1:1/x'}]\n")
	x.must(l.cmd.Process.Signal(syscall.SIGHUP))
	l.says("policy crm changed: [Schedule]")
	l.says("notify changed")
	x.policy(everyMinute + "daemon: {listen: '127.0.0.1:1'}\n")
	x.must(l.cmd.Process.Signal(syscall.SIGHUP))
	l.says("start it anew")
	if code := l.end(syscall.SIGTERM); code != 0 || !strings.Contains(l.log.String(), "stopping") {
		t.Errorf("exit code %d: %s", code, l.log)
	}
	if s := x.want(0, "status"); !strings.Contains(s.out, "no daemon runs") {
		t.Errorf("without a daemon status says %s", s)
	}
	if s := x.want(1, "status", "--watch"); !strings.Contains(s.err, "`lifeboat daemon` starts one") {
		t.Errorf("without a daemon --watch says %s", s)
	}
}

// TestDaemonFailures takes a target and a source away: the backup is tried again, what is wrong is shown and told, and it goes away. That it is not
// known any more what was told before keeps nobody from being told.
func TestDaemonFailures(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	told := &lockedBuffer{}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(told, r.Body) })) // what is missing is missed below
	t.Cleanup(hook.Close)
	x.policy(everyMinute + "notify: [{webhook: '" + hook.URL + "'}]\n")
	x.must(os.WriteFile(x.path("state", "notify.json"), []byte("{"), 0o600))
	l := x.daemon(fast())
	l.says("what people were told is not known any more")
	l.says("backed up")
	x.must(os.Rename(x.path("usb"), x.path("away")))
	l.says("target usb was missed")
	x.eventually("people are told", func() bool { return strings.Contains(told.String(), "target usb was missed") }, told)
	x.want(3, "status")
	x.must(os.Rename(x.path("away"), x.path("usb")))
	l.says("target usb is complete again")
	x.eventually("status is good", func() bool { return x.run("status").code == 0 }, l.log)

	x.must(os.Rename(x.path("crm.db"), x.path("gone")))
	l.says("backup failed")
	if s := x.want(3, "status"); !strings.Contains(s.err, "the backup of crm failed") {
		t.Errorf("status says %s", s)
	}
	x.must(os.Rename(x.path("gone"), x.path("crm.db")))
	l.says("the backup of crm works again")
	if code := l.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, l.log)
	}
	x.want(0, "check", "--identity", x.path("key"))
}
