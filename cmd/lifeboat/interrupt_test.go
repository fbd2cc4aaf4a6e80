package main

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterrupt stops a backup in the middle, as Ctrl-C and a service manager do: exit code 130, and it can be repeated.
func TestInterrupt(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
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
