package sqlite

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"lifeboat/snapshot"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/crm"
)

// wantError also wants a line or two that say the path and what to do.
func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
		return
	}
	var e *Error
	if errors.As(err, &e) && (strings.Count(err.Error(), "\n") != 1 || strings.Contains(err.Error(), "%s")) {
		t.Errorf("not two lines: %q", err.Error())
	}
}

func TestRefusesWhatIsNoDatabase(t *testing.T) {
	good, err := os.ReadFile(database(t, 0, 4096))
	if err != nil {
		t.Fatal(err)
	}
	with := func(at int, b ...byte) []byte {
		bad := bytes.Clone(good)
		copy(bad[at:], b)
		return bad
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":             {nil, ErrEmpty},
		"one byte":          {good[:1], ErrNotDatabase},
		"half a header":     {good[:50], ErrNotDatabase},
		"text":              {bytes.Repeat([]byte("CREATE TABLE x(y);\n"), 500), ErrNotDatabase},
		"encrypted":         {bytes.Repeat([]byte{0x8f, 0x11, 0xe2}, 4096), ErrNotDatabase},
		"page size":         {with(16, 0x12, 0x34), ErrNotDatabase},
		"page size 256":     {with(16, 1, 0), ErrNotDatabase},
		"future":            {with(18, 3, 3), ErrNotDatabase},
		"header only":       {with(18, 1, 1)[:100], ErrCorrupt},
		"cut off":           {with(18, 1, 1)[:len(good)-8192], ErrCorrupt},
		"cut off, with WAL": {good[:len(good)-8192], ErrCorrupt},
		"schema destroyed":  {with(100, bytes.Repeat([]byte{0xff}, 3000)...), ErrCorrupt},
		"payload fractions": {with(21, 1, 2, 3), ErrNotDatabase},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "crm.db")
			if err := os.WriteFile(path, c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := New(path, Options{}).Open(t.Context(), nil)
			wantError(t, err, c.want)
			for _, f := range New(path, Options{}).Doctor(t.Context()) {
				if f.Level == snapshot.Fail {
					return
				}
			}
			t.Error("the doctor found nothing")
		})
	}
}

func TestRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	_, err := New(dir, Options{}).Open(t.Context(), nil)
	wantError(t, err, ErrNotDatabase)
	_, err = New(filepath.Join(dir, "missing.db"), Options{}).Open(t.Context(), nil)
	wantError(t, err, fs.ErrNotExist)
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	_, err = New(filepath.Join(dir, "link"), Options{}).Open(t.Context(), nil)
	wantError(t, err, fs.ErrNotExist)
}

// TestRefusesDuringCreation looks at a database whose first transaction is not committed yet.
func TestRefusesDuringCreation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	db := connect(t, path)
	run(t, db, "BEGIN", "CREATE TABLE t(x)")
	_, err := New(path, Options{}).Open(t.Context(), nil)
	wantError(t, err, ErrEmpty)
	run(t, db, "COMMIT")
	if _, err := save(t, open(t, New(path, Options{})), false); err != nil {
		t.Error(err)
	}
	run(t, db, "PRAGMA journal_mode=WAL")
	if _, err := save(t, open(t, New(path, Options{})), false); err != nil {
		t.Error(err)
	}
}

func TestRefusesExclusiveMode(t *testing.T) {
	path := database(t, 0, 4096)
	w := startWriter(t, path, "", "locking_mode(EXCLUSIVE)")
	_, err := New(path, Options{}).Open(t.Context(), nil)
	wantError(t, err, ErrBusy)
	w.stop(t)
}

func TestSymlinkAndOddNames(t *testing.T) {
	path := database(t, 0, 4096)
	churn(t, connect(t, path), 10)
	link := filepath.Join(t.TempDir(), "a b?c#d%41'e.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	v := open(t, New(link, Options{}))
	if v.how != "files" || v.pos.IsZero() {
		t.Errorf("read by %s at %v", v.how, v.pos)
	}
	check(t, v, false)
	odd := filepath.Join(t.TempDir(), "a b?c#d%41'e.db")
	copyFile(t, path, odd)
	check(t, open(t, New(odd, Options{})), false)
	for path, want := range map[string]string{"/srv/crm.db": "crm.db", odd: "database.sqlite", "/x/.db": "database.sqlite",
		"/x/crm.db-wal": "database.sqlite", "/x/" + strings.Repeat("a", 101): "database.sqlite"} {
		if got := itemName(path); got != want {
			t.Errorf("item name of %s is %s, want %s", path, got, want)
		}
	}
}

// TestOwnership checks who owns the -wal and -shm that a snapshot creates, and that the owner can write afterwards.
func TestOwnership(t *testing.T) {
	path := database(t, 0, 4096)
	uid := os.Geteuid()
	if uid == 0 {
		uid = 65534
		for _, p := range []string{path, filepath.Dir(path)} {
			if err := os.Chown(p, uid, uid); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := open(t, New(path, Options{}))
	check(t, v, false)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uint32(uid) {
			t.Errorf("%s belongs to user %d, the database to %d", suffix, st.Uid, uid)
		}
	}
	for _, f := range New(path, Options{}).Doctor(t.Context()) {
		if f.Level != snapshot.OK {
			t.Errorf("%+v", f)
		}
	}
	if got := query(t, path, "UPDATE account SET notes='after'"); got != "" {
		t.Errorf("the writer cannot write: %s", got)
	}
}

// TestUnprivileged runs as a user that owns nothing, with and without a writer that keeps the log in being.
func TestUnprivileged(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "crm.db")
	if err := crm.Generate(t.Context(), path, crm.Options{}); err != nil {
		t.Fatal(err)
	}
	open := func() string {
		cmd := child(t, "open", path)
		exe := filepath.Join(dir, "stranger")
		copyFile(t, cmd.Path, exe)
		if err := os.Chmod(exe, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Dir = exe, dir
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65533, Gid: 65533}}
		}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if os.Geteuid() == 0 { // otherwise this user is the owner
		if got := open(); !strings.Contains(got, ErrOwnership.Error()) {
			t.Errorf("without -wal: %s", got)
		}
		w := startWriter(t, path, "")
		if got := open(); !strings.Contains(got, "read by pager") {
			t.Errorf("with a live writer: %s", got)
		}
		w.stop(t)
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if got := open(); !strings.Contains(got, "permission denied") || !strings.Contains(got, "hint: give this user read access") {
		t.Errorf("unreadable: %s", got)
	}
}

func TestCancel(t *testing.T) {
	path := database(t, 400<<10, 4096)
	v := open(t, New(path, Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for item, err := range v.Items(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := item.Body.Read(make([]byte, 1<<20)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range v.Items(t.Context()) {
		wantClosed(t, err)
	}
}

func wantClosed(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}
