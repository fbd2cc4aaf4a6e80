package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/evidence"
)

// TestInterrupt stops a backup in the middle, as Ctrl-C, a service manager and a terminal that is closed do: exit code 130, and it can be repeated.
func TestInterrupt(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			x := newFixture(t, "disk")
			big := exec.CommandContext(t.Context(), "sqlite3", x.path("crm.db"), "CREATE TABLE big(b); INSERT INTO big VALUES(randomblob(50000000))")
			if out, err := big.CombinedOutput(); err != nil {
				t.Fatalf("sqlite3: %v: %s (scripts/setup installs it)", err, out)
			}
			var said bytes.Buffer
			cmd := program(t.Context(), "lifeboat", "-c", x.path("lifeboat.yaml"), "backup", "crm")
			cmd.Stderr = &said
			x.must(cmd.Start())
			for begun := false; !begun; time.Sleep(time.Millisecond) {
				maps, err := filepath.Glob(x.path("state", "pagemaps", ".new-*"))
				x.must(err)
				begun = len(maps) > 0
			}
			x.must(cmd.Process.Signal(signal))
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || !strings.Contains(said.String(), "safe to repeat") {
				t.Fatalf("%v: %s", err, &said)
			}
			if maps, err := filepath.Glob(x.path("state", "pagemaps", "*")); err != nil || len(maps) > 0 {
				t.Errorf("left behind: %v, %v", maps, err)
			}
			x.want(0, "backup", "crm")
			if !bytes.Equal(x.restored(), x.database()) {
				t.Error("the backup after it restores to something else")
			}
		})
	}
}

// TestHangupDrill closes the terminal of a drill, twice as a shell does, while its database is asked: the drill comes to its end and is reported.
func TestHangupDrill(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.want(0, "backup", "crm")
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s, time_limit: 5m, checks: [{name: slow, sql: \"with recursive c(n) as (select 1 union all select n+1 from c) select count(*) from c\", min: 1}]}}\n", x.path("scratch")))
	var out bytes.Buffer
	log := &lockedBuffer{}
	cmd := program(t.Context(), "lifeboat", "-c", x.path("lifeboat.yaml"), "drill", "run", "crm", "--identity", x.path("key"), "--json")
	cmd.Stdout, cmd.Stderr = &out, log
	x.must(cmd.Start())
	x.eventually("the database is asked", func() bool {
		found, err := filepath.Glob(x.path("scratch", "*", "data"))
		x.must(err)
		return len(found) > 0
	}, log)
	x.must(cmd.Process.Signal(syscall.SIGHUP))
	x.must(cmd.Process.Signal(syscall.SIGHUP))
	err := cmd.Wait()
	var r evidence.Report
	x.must(json.Unmarshal(out.Bytes(), &r))
	if cmd.ProcessState.ExitCode() != exitInterrupted || r.Result != evidence.Inconclusive || r.Isolation.Teardown != evidence.Pass || !slices.Contains(r.Errors, "somebody ended the drill") {
		t.Errorf("%v: %s, teardown %s, %q: %s", err, r.Result, r.Isolation.Teardown, r.Errors, log)
	}
	if left, err := filepath.Glob(x.path("scratch", "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if notes, err := filepath.Glob(x.path("state", "drills", "*")); err != nil || len(notes) > 0 {
		t.Errorf("it left its notes %v, %v", notes, err)
	}
	if len(x.waiting()) != 1 {
		t.Errorf("the report does not wait to be recorded: %v", x.waiting())
	}
}

// TestHangupHeedsNohup closes the terminal of a command that is not to end with it.
func TestHangupHeedsNohup(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	path, err := realProgram()
	x.must(err)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "" HUP; kill -HUP $$; "$0" -c "$1" backup crm & kill -HUP $!; wait $!`, path, x.path("lifeboat.yaml"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
