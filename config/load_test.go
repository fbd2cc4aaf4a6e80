package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
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
