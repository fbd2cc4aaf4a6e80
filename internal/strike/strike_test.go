//go:build linux && amd64

package strike_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/strike"
)

func count(t *testing.T, name string) int {
	t.Helper()
	n, err := strike.Count(program(t, name, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCount(t *testing.T) {
	for name, want := range map[string]int{
		"nothing": 0, "sound": 6, "unsynced file": 5, "numbers": 10, "noise": 2,
		"children": 6, // each file is opened and written
		"threads":  writers * filesOfAWriter * callsOfAFile,
	} {
		for range 3 {
			start := time.Now()
			if got := count(t, name); got != want {
				t.Errorf("%s does %d calls, want %d", name, got, want)
			}
			t.Logf("%s: %v", name, time.Since(start).Round(time.Millisecond))
		}
	}
}

func TestOutputIsCollected(t *testing.T) {
	cmd := program(t, "noise", t.TempDir())
	var out bytes.Buffer
	cmd.Stdout = &out
	if _, err := strike.Count(cmd); err != nil || out.Len() != 50 {
		t.Errorf("%d bytes of output, %v; want 50", out.Len(), err)
	}
}

// TestRunStopsAtEachCall kills before each call: exactly the calls before it must have happened.
func TestRunStopsAtEachCall(t *testing.T) {
	for at := 1; at <= 11; at++ {
		dir := t.TempDir()
		r, err := strike.Run(program(t, "numbers", dir), at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Struck != (at <= 10) || r.Calls != min(at, 10) {
			t.Errorf("at %d: %+v", at, r)
		}
		if r.Struck && (!r.Status.Signaled() || r.Status.Signal() != syscall.SIGKILL || r.Call.Path != filepath.Join(dir, strconv.Itoa(at-1))) {
			t.Errorf("at %d: ended with status %#x at %v", at, r.Status, r.Call)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != at-1 {
			t.Errorf("at %d: %d files, %v; want %d", at, len(entries), err, at-1)
		}
	}
}

func TestTornWriteLeavesAPrefix(t *testing.T) {
	kept := map[int64]bool{}
	for seed := range uint64(12) {
		dir := t.TempDir()
		r, err := strike.Run(program(t, "sound", dir), 3, rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatal(err)
		}
		if r.Call.Name != "write" || r.Call.Bytes != int64(len("second")) || r.Kept >= r.Call.Bytes || !r.Status.Signaled() {
			t.Errorf("torn: %+v", r)
		}
		got, err := os.ReadFile(filepath.Join(dir, "f.tmp"))
		if want := "first second"[:6+r.Kept]; err != nil || string(got) != want {
			t.Errorf("file holds %q, %v; want %q", got, err, want)
		}
		kept[r.Kept] = true
	}
	if len(kept) < 3 {
		t.Errorf("twelve seeds kept only %v bytes", kept)
	}
	r, err := strike.Run(program(t, "sound", t.TempDir()), 4, rand.New(rand.NewPCG(1, 0)))
	if err != nil || !r.Struck || r.Call.Name != "fsync" || r.Kept != -1 {
		t.Errorf("what cannot be torn: %+v, %v", r, err)
	}
}

// TestRunStopsThreads strikes a busy program at many places: it must die there, with as many files as calls allow.
func TestRunStopsThreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 15 {
		at := 1 + rng.IntN(writers*filesOfAWriter*callsOfAFile)
		dir := t.TempDir()
		r, err := strike.Run(program(t, "threads", dir), at, rng)
		if err != nil || !r.Struck || r.Calls != at || !r.Status.Signaled() {
			t.Fatalf("at %d: %+v, %v", at, r, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		done := slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".tmp") })
		// A published file has had 5 calls, and only a call that was let go can be missing from the sum.
		if most := at / 5; len(done) > most {
			t.Errorf("at %d: %d files published, at most %d can be", at, len(done), most)
		}
	}
}

func TestTraceListsWhatWasDone(t *testing.T) {
	dir := t.TempDir()
	calls, err := strike.Trace(program(t, "sound", dir))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range calls {
		got = append(got, strings.ReplaceAll(c.String(), dir, "DIR"))
	}
	want := []string{"openat DIR/f.tmp", "write DIR/f.tmp (6 bytes)", "write DIR/f.tmp (6 bytes)", "fsync DIR/f.tmp",
		"renameat DIR/f.tmp -> DIR/f", "fsync DIR"}
	if !slices.Equal(got, want) {
		t.Errorf("trace is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestUndurable(t *testing.T) {
	for name, want := range map[string]string{
		"sound": "", "threads": "",
		"unsynced file":      "written and not synced before",
		"unsynced directory": "not synced after",
	} {
		calls, err := strike.Trace(program(t, name, t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strike.Undurable(calls), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestFailureIsAnError(t *testing.T) {
	cmd := program(t, "fail", t.TempDir())
	if _, err := strike.Count(cmd); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Count of a failing program: %v", err)
	}
	if _, err := strike.Trace(program(t, "fail", t.TempDir())); err == nil {
		t.Error("Trace of a failing program is no error")
	}
	if r, err := strike.Run(program(t, "fail", t.TempDir()), 1, nil); err != nil || r.Struck || r.Status.ExitStatus() != 3 {
		t.Errorf("Run of a failing program: %+v, %v", r, err)
	}
	if _, err := strike.Run(program(t, "nothing", t.TempDir()), 0, nil); err == nil {
		t.Error("Run at call 0 is no error")
	}
	if _, err := strike.Count(exec.Command("/nonexistent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Count of what is not there: %v", err)
	}
}

func TestContextEndsAHangingProgram(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	whole := program(t, "hang", t.TempDir())
	cmd := exec.CommandContext(ctx, whole.Path, whole.Args[1:]...)
	cmd.Env = whole.Env
	if _, err := strike.Count(cmd); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Count of a killed program: %v", err)
	}
}

// TestOtherChildrenAreLeftAlone starts and waits for ordinary processes while programs are traced on other threads.
func TestOtherChildrenAreLeftAlone(t *testing.T) {
	stop := make(chan struct{})
	result := make(chan error, 4)
	for i := range cap(result) {
		go func() {
			for {
				select {
				case <-stop:
					result <- nil
					return
				default:
				}
				err := exec.Command("/bin/sh", "-c", fmt.Sprintf("sleep 0.0%d; exit 7", i)).Run()
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
					result <- fmt.Errorf("an ordinary process ended with %w", err)
					return
				}
			}
		}()
	}
	for range 20 {
		if got := count(t, "numbers"); got != 10 {
			t.Errorf("counted %d", got)
		}
	}
	close(stop)
	for range cap(result) {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}
