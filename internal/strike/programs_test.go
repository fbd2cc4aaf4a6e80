//go:build linux && amd64

package strike_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// programs are what the tests run: this test binary, started again with the name of one and a directory.
var programs = map[string]func(dir string) error{
	"nothing": func(string) error { return nil },
	"sound":   func(dir string) error { return publish(dir, "f", true, true) },
	"unsynced file": func(dir string) error {
		return publish(dir, "f", false, true)
	},
	"unsynced directory": func(dir string) error {
		return publish(dir, "f", true, false)
	},
	"numbers":  numbers,
	"threads":  threads,
	"children": children,
	"noise":    noise,
	"fail":     func(string) error { return fmt.Errorf("as asked") },
	"hang":     func(string) error { time.Sleep(time.Hour); return nil },
}

const programVariable = "STRIKE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	name := os.Getenv(programVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := programs[name](os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0)
}

// program is a command that runs one of programs in dir; it is killed after a minute.
func program(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, dir)
	// A program built for the race detector would sleep for a second at its end.
	cmd.Env = append(os.Environ(), programVariable+"="+name, "GORACE=atexit_sleep_ms=0", "GOCOVERDIR="+t.TempDir())
	return cmd
}

// publish writes a file under a temporary name, with five calls before the rename, and syncs what it is told to.
func publish(dir, name string, syncFile, syncDir bool) error {
	f, err := os.Create(filepath.Join(dir, name+".tmp"))
	if err != nil {
		return err
	}
	if _, err := f.WriteString("first "); err != nil {
		return err
	}
	if _, err := f.WriteString("second"); err != nil {
		return err
	}
	if syncFile {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil || !syncDir {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// numbers makes the files 0 to 9, empty, one call each.
func numbers(dir string) error {
	for i := range 10 {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

const (
	writers        = 8
	filesOfAWriter = 25
	callsOfAFile   = 6 // create, two writes, sync, rename, sync of the directory
)

// threads publishes files from several goroutines at once.
func threads(dir string) error {
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range filesOfAWriter {
				if errs[w] == nil {
					errs[w] = publish(dir, fmt.Sprintf("%d-%d", w, i), true, true)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// children starts a shell that makes three files.
func children(dir string) error {
	cmd := exec.Command("/bin/sh", "-c", "echo a >a; echo b >b; (echo c >c)")
	cmd.Dir = dir
	return cmd.Run()
}

// noise writes a great deal to what is not a file, and one byte to a file.
func noise(dir string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	socket := os.NewFile(uintptr(pair[0]), "socket")
	defer socket.Close()
	for range 50 {
		for _, f := range []*os.File{w, null, socket, os.Stdout} {
			if _, err := f.WriteString("x"); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600)
}
