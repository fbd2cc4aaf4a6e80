package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/config"
)

func TestFindInOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("LIFEBOAT_CONFIG", "")
	if _, err := os.Stat("/etc/lifeboat/lifeboat.yaml"); errors.Is(err, fs.ErrNotExist) {
		_, err := config.Find("")
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "-c") {
			t.Errorf("with none there: %v", err)
		}
	}
	if err := os.WriteFile("lifeboat.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expectFound(t, "", "lifeboat.yaml")
	t.Setenv("LIFEBOAT_CONFIG", "/from/env")
	expectFound(t, "", "/from/env")
	expectFound(t, "/from/flag", "/from/flag")
}

func expectFound(t *testing.T, flag, want string) {
	t.Helper()
	if got, err := config.Find(flag); err != nil || got != want {
		t.Errorf("Find(%q) = %q, %v; want %q", flag, got, err, want)
	}
}

func TestLoad(t *testing.T) {
	t.Setenv("LIFEBOAT_TEST_DIR", "/from/the/environment")
	path := filepath.Join(t.TempDir(), "c.yaml")
	if _, err := config.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	text := strings.Replace(minimal, "/s", "${LIFEBOAT_TEST_DIR}", 1)
	if err := os.WriteFile(path, []byte("\ufeff"+text), 0o600); err != nil { // as some editors write it
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil || c.StateDir != "/from/the/environment" {
		t.Errorf("loaded %+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("repositry: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = config.Load(path)
	if p, ok := errors.AsType[config.Problem](err); !ok || p.File != path || p.Line != 1 {
		t.Errorf("with a problem: %v", err)
	}
}

// TestLoadPipe is about pipes: one with somebody at its other end, as `-c <(decrypt)` has it, is read; one without is waited for by nobody.
func TestLoadPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := w.WriteString(minimal)
		written <- errors.Join(err, w.Close())
	}()
	if _, err := config.Load(fmt.Sprintf("/dev/fd/%d", r.Fd())); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-written, r.Close()); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	loaded := make(chan error, 1)
	go func() {
		_, err := config.Load(path)
		loaded <- err
	}()
	select {
	case err := <-loaded:
		if err == nil || !strings.Contains(err.Error(), path+": nothing in it") {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for a writer")
	}
}

func TestDSNShowsOnlyWhere(t *testing.T) {
	for dsn, want := range map[config.DSN]string{
		"":                                      "",
		"postgres://u:pw@h:5432/db?password=pw": "postgres://u@h:5432/db",
		"postgres://h/db":                       "postgres://h/db",
		"host=h password=pw":                    "[redacted]",
		"u:pw@tcp(h:3306)/db":                   "[redacted]",
		"postgres://u:p%zz@h/db":                "[redacted]",
	} {
		if got := dsn.String(); got != want {
			t.Errorf("shows %q, want %q", got, want)
		}
		if text, err := dsn.MarshalText(); err != nil || string(text) != want {
			t.Errorf("marshals to %q, %v", text, err)
		}
		if dsn.Reveal() != string(dsn) {
			t.Error("Reveal is not the DSN")
		}
	}
}
