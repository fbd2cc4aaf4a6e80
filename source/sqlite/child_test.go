package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"lifeboat/internal/crm"
)

// The tests need a second process, since POSIX locks do not conflict within one: the test binary itself, told by the
// environment what to do.
const childVar = "LIFEBOAT_SQLITE_CHILD"

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(childVar); role {
	case "":
		os.Exit(m.Run())
	case "write":
		err = childWrite(os.Args[1], os.Args[2], os.Args[3:])
	case "query":
		err = childQuery(os.Args[1], os.Args[2:])
	case "open":
		err = childOpen(os.Args[1])
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childWrite commits without pause until its input ends, says each number, and runs extra, if any, every 64 commits.
func childWrite(path, extra string, pragmas []string) error {
	db, err := crm.Open(path, pragmas...)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w, err := crm.NewWriter(ctx, db, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		stop()
	}()
	var failed error
	err = w.Run(ctx, func(seq int64) {
		fmt.Println(seq)
		if extra != "" && seq%64 == 0 {
			if _, err := db.Exec(extra); err != nil {
				failed = err
				stop()
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return db.Close()
}

// childQuery prints the first row of each statement, values separated by blanks, or the error.
func childQuery(path string, statements []string) error {
	db, err := crm.Open(path, "busy_timeout(0)")
	if err != nil {
		return err
	}
	for _, s := range statements {
		fmt.Println(firstRow(db, s))
	}
	return db.Close()
}

func childOpen(path string) error {
	v, err := New(path, Options{}).Open(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	for item, err := range v.Items(context.Background()) {
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, item.Body); err != nil {
			return err
		}
	}
	fmt.Println("read by", v.(*view).how)
	return v.Close()
}

// child prepares the test binary in a role.
func child(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), childVar+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// query runs statements in another process.
func query(t testing.TB, path string, statements ...string) string {
	t.Helper()
	out, err := child(t, "query", append([]string{path}, statements...)...).Output()
	if err != nil {
		t.Fatalf("query in another process: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// writer is another process that commits without pause.
type writer struct {
	cmd  *exec.Cmd
	in   io.Closer
	seq  atomic.Int64
	done chan struct{}
}

// startWriter returns after the first commit. The writer is stopped at the end of the test.
func startWriter(t testing.TB, path, extra string, pragmas ...string) *writer {
	t.Helper()
	w := &writer{cmd: child(t, "write", append([]string{path, extra}, pragmas...)...), done: make(chan struct{})}
	in, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.in = in
	first := make(chan struct{})
	go func() {
		defer close(w.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			seq, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err == nil && w.seq.Swap(seq) == 0 {
				close(first)
			}
		}
	}()
	t.Cleanup(func() {
		if w.cmd.ProcessState == nil {
			w.stop(t)
		}
	})
	select {
	case <-first:
	case <-w.done:
		t.Fatal("the writer ended before its first commit")
	}
	return w
}

// stop lets the writer close its database and returns its last transaction.
func (w *writer) stop(t testing.TB) int64 {
	t.Helper()
	_ = w.in.Close()
	<-w.done
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("writer: %v", err)
	}
	return w.seq.Load()
}

// kill ends the writer as a crash does.
func (w *writer) kill(t testing.TB) int64 {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-w.done
	_ = w.cmd.Wait() // it was killed, which is an error
	return w.seq.Load()
}
