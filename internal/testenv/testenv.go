// Package testenv starts real servers for tests and benchmarks, on loopback and in temporary directories, and stops them again.
package testenv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// TB is what servers need of a testing.TB, so that a benchmark of the whole program can start them too.
type TB interface {
	Helper()
	Context() context.Context
	TempDir() string // in a directory of its own
	Cleanup(func())
	Errorf(format string, args ...any) // from any goroutine
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

func must(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tempDir is a directory that the user who runs servers reaches.
func tempDir(t TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// descendants are the processes that a process started, and those that these did.
func descendants(t TB, pid int) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	children := map[int][]int{}
	for _, f := range files {
		fields := stat(f)
		if fields == nil {
			continue // it ended
		}
		parent, err := strconv.Atoi(fields[1])
		must(t, err)
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		must(t, err)
		children[parent] = append(children[parent], child)
	}
	var below func(int) []int
	below = func(pid int) (all []int) {
		for _, c := range children[pid] {
			all = append(append(all, c), below(c)...)
		}
		return all
	}
	return below(pid)
}

// stat is what the system says of a process behind its name, from its state on (proc(5)); nil once it is gone.
func stat(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
}

// tick is the system's unit of processor times.
const tick = 10 * time.Millisecond

// usage is the processor time of processes and of all that they started, as it was seen last. Parents do not always wait for their children,
// so the system forgets what these used.
type usage struct {
	mu   sync.Mutex
	seen map[int]time.Duration // by process
}

// look looks at a process and its descendants, and returns the sum of all that were ever seen.
func (u *usage) look(t TB, pid int) (sum time.Duration) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = map[int]time.Duration{}
	}
	for _, pid := range append(descendants(t, pid), pid) {
		fields := stat(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if fields == nil {
			continue // it ended
		}
		user, err1 := strconv.ParseInt(fields[11], 10, 64)
		system, err2 := strconv.ParseInt(fields[12], 10, 64)
		must(t, errors.Join(err1, err2))
		u.seen[pid] = time.Duration(user+system) * tick
	}
	for _, d := range u.seen {
		sum += d
	}
	return sum
}
