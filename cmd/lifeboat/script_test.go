package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"lifeboat/internal/clock"
	"lifeboat/internal/crm"
)

// clockEnv shifts the clock of a lifeboat that a test starts, by a duration such as 192h or -1h, or by the one that stands in @FILE at each moment. Only the
// test binary knows it.
const clockEnv = "LIFEBOAT_TEST_CLOCK"

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"lifeboat": lifeboatProgram, "crm-writer": writerProgram})
}

// tests removes at the end what all of them share.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := t.m.Run()
	if built != "" {
		_ = os.RemoveAll(built) // it is in the system's directory for temporary files
	}
	return code
}

// fastEnv makes a clock run faster from a time on: "60 2026-11-20T00:00:00Z" is a minute for each second since then.
const fastEnv = "LIFEBOAT_TEST_CLOCK_RATE"

// testClock is the clock that the environment asks for.
func testClock() (clock.Clock, error) {
	if file, ok := strings.CutPrefix(os.Getenv(clockEnv), "@"); ok {
		return func() time.Time {
			b, err := os.ReadFile(file)
			shift, perr := time.ParseDuration(string(b))
			if err := errors.Join(err, perr); err != nil {
				panic(err)
			}
			return time.Now().Add(shift)
		}, nil
	}
	shift, err := time.ParseDuration(os.Getenv(clockEnv) + "0s")
	if err != nil {
		return nil, err
	}
	rate, from, fast := strings.Cut(os.Getenv(fastEnv), " ")
	if !fast {
		return func() time.Time { return time.Now().Add(shift) }, nil
	}
	times, err := strconv.Atoi(rate)
	if err != nil {
		return nil, err
	}
	begin, err := time.Parse(time.RFC3339Nano, from)
	return func() time.Time { return begin.Add(time.Since(begin) * time.Duration(times)).Add(shift) }, err
}

func lifeboatProgram() {
	now, err := testClock()
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: now}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// TestScripts runs testdata/script: what a person types, what they see, and the exit code. The commands beside those of
// testscript are in commands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// A program built for the race detector sleeps for a second at its end unless told otherwise.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: commands,
	})
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":    exits,
	"crm":      makeCRM,
	"churn":    churn,
	"clock":    setClock,
	"damage":   damageFile,
	"flock":    holdLock,
	"tmpfs":    mountTmpfs,
	"readonly": remountReadOnly,
	"fill":     fillDisk,
	"clone":    clone,
	"same":     same,
	"is-empty": isEmpty,
	"until":    until,
	"webhook":  serveHook,
}

// exits CODE PROGRAM ARGS... runs a program that must end with this exit code, or with any.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if args[0] != "any" && args[0] != strconv.Itoa(code) {
		ts.Fatalf("%s: exit code %d, not %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// smallCRM is the CRM database that scripts begin with, made once.
var smallCRM = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "lifeboat-crm-*")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "crm.db")
	if err := crm.Generate(context.Background(), path, crm.Options{Seed: 1}); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	return b, errors.Join(err, os.RemoveAll(dir))
})

// crm FILE writes a small CRM database.
func makeCRM(ts *testscript.TestScript, _ bool, args []string) {
	b, err := smallCRM()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// churn FILE SEED updates some rows of a CRM database.
func churn(ts *testscript.TestScript, _ bool, args []string) {
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	ts.Check(churnRows(context.Background(), ts.MkAbs(args[0]), seed, 20))
}

func churnRows(ctx context.Context, path string, seed uint64, rows int) error {
	db, err := crm.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(crm.Churn(ctx, db, rand.New(rand.NewPCG(seed, 0)), rows), db.Close())
}

// clock DURATION shifts the clock of the programs that follow; 0h sets it right.
func setClock(ts *testscript.TestScript, _ bool, args []string) { ts.Setenv(clockEnv, args[0]) }

// damage HOW FILE... spoils files: truncate, flip (one bit), random (some bytes; every:N is the seed), empty.
func damageFile(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args[1:] {
		path := ts.MkAbs(name)
		b, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, spoil(args[0], b), 0o600))
	}
}

func spoil(how string, b []byte) []byte {
	b = bytes.Clone(b)
	how, seed, _ := strings.Cut(how, ":")
	switch how {
	case "truncate":
		return b[:len(b)/2]
	case "flip":
		b[len(b)/2] ^= 1
	case "random":
		n, _ := strconv.ParseUint(seed, 10, 64)
		rng := rand.New(rand.NewPCG(n, 0))
		for range 1 + len(b)/512 {
			b[rng.IntN(len(b))] = byte(rng.Uint32())
		}
	case "empty":
		return nil
	default:
		panic("damage: " + how)
	}
	return b
}

// flock FILE holds a lock until the script ends, as another process would.
func holdLock(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	ts.Defer(func() { _ = f.Close() })
}

// tmpfs DIR SIZE mounts a small disk, which needs root.
func mountTmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+args[1]); err != nil {
		ts.Fatalf("mount a tmpfs: %v: run this test as root", err)
	}
	ts.Defer(func() { ts.Check(unix.Unmount(dir, unix.MNT_DETACH)) })
}

// readonly DIR makes a tmpfs read-only; ! readonly makes it writable again.
func remountReadOnly(ts *testscript.TestScript, neg bool, args []string) {
	flags := uintptr(unix.MS_REMOUNT)
	if !neg {
		flags |= unix.MS_RDONLY
	}
	ts.Check(unix.Mount("tmpfs", ts.MkAbs(args[0]), "tmpfs", flags, ""))
}

// fill DIR BYTES fills the disk below DIR but for so many bytes, with the file DIR/ballast.
func fillDisk(ts *testscript.TestScript, _ bool, args []string) {
	left, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	var st unix.Statfs_t
	ts.Check(unix.Statfs(ts.MkAbs(args[0]), &st))
	size := max(int64(st.Bavail)*st.Bsize-left, 0)
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "ballast"), make([]byte, size), 0o600))
}

// clone FROM TO copies a directory; what TO was is gone.
func clone(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.RemoveAll(ts.MkAbs(args[1])))
	ts.Check(copyDir(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

func copyDir(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}

// same FILE FILE compares two files of any content; ! same wants a difference.
func same(ts *testscript.TestScript, neg bool, args []string) {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s and %s: same is %v", args[0], args[1], !neg)
	}
}

// is-empty DIR... wants directories that are absent or hold nothing.
func isEmpty(ts *testscript.TestScript, _ bool, args []string) {
	for _, dir := range args {
		entries, err := os.ReadDir(ts.MkAbs(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			ts.Check(err)
		}
		if len(entries) > 0 {
			ts.Fatalf("%s holds %s", dir, entries[0].Name())
		}
	}
}

// until GLOB waits until a file of such a name is there.
func until(ts *testscript.TestScript, _ bool, args []string) {
	for range 3000 {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(found) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", args[0])
}

// webhook NAME CODE BODY starts a server that answers so until the script ends; $NAME is its address, and NAME.got what it was sent last.
func serveHook(ts *testscript.TestScript, _ bool, args []string) {
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	got := ts.MkAbs(args[0] + ".got")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, os.WriteFile(got, body, 0o600)); err != nil {
			code = http.StatusInternalServerError
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, args[2]) // the client may be gone
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.Listener.Addr().String())
}
