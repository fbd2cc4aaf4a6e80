package sftp_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
	"lifeboat/target"
	"lifeboat/target/sftp"
	"lifeboat/target/targettest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	targettest.Run(t, func(t *testing.T) target.Target {
		return create(t, at(d, filepath.Join("suite", strings.ReplaceAll(t.Name(), "/", "-"))))
	})
}

// at is the configuration for a directory of the account.
func at(d *testenv.SSHD, dir string) sftp.Config {
	return sftp.Config{Host: "127.0.0.1", Port: d.Port, User: d.User, Path: dir, KeyFile: d.Key, KnownHosts: d.KnownHosts}
}

func create(t *testing.T, cfg sftp.Config) *sftp.Target {
	t.Helper()
	tg, err := sftp.Create(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return closing(t, tg)
}

func open(t *testing.T, cfg sftp.Config) *sftp.Target {
	t.Helper()
	tg, err := sftp.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return closing(t, tg)
}

func closing(t *testing.T, tg *sftp.Target) *sftp.Target {
	t.Cleanup(func() {
		if err := tg.Close(); err != nil {
			t.Error(err)
		}
	})
	return tg
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// content returns n bytes that do not repeat.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

func put(t *testing.T, tg target.Target, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := tg.Put(t.Context(), name, section([]byte(name))); err != nil {
			t.Fatal(err)
		}
	}
}

func read(ctx context.Context, tg target.Target, name string) (string, error) {
	r, err := tg.Get(ctx, name, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func wantObject(t *testing.T, tg target.Target, name string, want []byte) {
	t.Helper()
	if got, err := read(t.Context(), tg, name); err != nil || got != string(want) {
		t.Errorf("Get(%s): %d bytes, %v; want %d bytes", name, len(got), err, len(want))
	}
}

func wantNames(t *testing.T, tg target.Target, prefix string, want ...string) {
	t.Helper()
	var got []string
	for info, err := range tg.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Name)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("List(%q): %q; want %q", prefix, got, want)
	}
}

// leftovers are the unfinished objects in a directory.
func leftovers(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(entries)
}
