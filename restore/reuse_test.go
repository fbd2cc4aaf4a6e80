package restore_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"lifeboat/restore"
	"lifeboat/snapshot"
)

// key stands for the file without which an engine refuses a directory. No snapshot of a model has it: a restore removes it.
const key = "KEY"

// reuse restores snapshots in any order into one directory, which is changed in between, over what stands there; some restores are given up on
// the way. What a plan says is what the restore does.
func (m *model) reuse() {
	dir := filepath.Join(m.t.TempDir(), "reused")
	if err := os.Mkdir(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	outside := filepath.Join(m.t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	for n := range 6 {
		i := m.rand.IntN(len(m.taken))
		if err := os.WriteFile(filepath.Join(dir, key), nil, 0o600); err != nil {
			m.t.Fatal(err)
		}
		if n > 0 {
			m.tamper(dir, outside)
		}
		if m.rand.IntN(2) == 0 {
			m.giveUp(dir, i)
		}
		planned := m.over(m.t.Context(), dir, i, true, 0)
		done := m.over(m.t.Context(), dir, i, false, 0)
		if planned.Reused != done.Reused || planned.Fetch != done.Fetch || planned.Pieces != done.Pieces || planned.Removed != done.Removed {
			m.t.Errorf("snapshot %d: planned %+v, did %+v", i, planned, done)
		}
		m.holds(dir, i)
		again := m.over(m.t.Context(), dir, i, false, 0)
		if again.Reused+again.Pieces != again.Data {
			m.t.Errorf("snapshot %d: restored twice, of %d bytes %d are there and %d in pieces", i, again.Data, again.Reused, again.Pieces)
		}
		m.holds(dir, i)
	}
	if b := must(os.ReadFile(outside)); string(b) != "precious" {
		m.t.Errorf("a file outside became %q", b)
	}
}

// over restores a snapshot over what stands in a directory, or plans that. It gives up after so many bytes, if not 0.
func (m *model) over(ctx context.Context, dir string, i int, dry bool, until int64) (plan restore.Plan) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := m.reader()
	tree := m.tree(r, m.taken[i].root)
	sink, err := restore.ReuseDirectory(dir, tree.Root.Size, restore.Reuse{Key: key, Identity: "model", Check: func(string) error { return nil }})
	if err != nil {
		m.t.Fatal(err)
	}
	var done atomic.Int64
	count := func(n int64) {
		if done.Add(n) >= until && until > 0 {
			cancel()
		}
	}
	job := restore.Job{Tree: tree, Frames: r, IDs: m.keys.IDs, Sink: sink, Reuse: sink, SpillDir: sink.Work(), Progress: count}
	if dry {
		plan, err = restore.DryRun(ctx, job)
	} else {
		plan, err = restore.Run(ctx, job)
	}
	if cerr := sink.Close(); until == 0 && errors.Join(err, cerr) != nil {
		m.t.Fatalf("restore snapshot %d over another: %v", i, errors.Join(err, cerr))
	} else if err != nil && (cerr == nil || !strings.Contains(cerr.Error(), "repeat the restore with --reuse")) {
		m.t.Errorf("a restore that was given up ends with %v, and %v", err, cerr)
	}
	return plan
}

// giveUp begins a restore and gives it up in the middle: then nothing has the key, and a restore that does not reuse is refused.
func (m *model) giveUp(dir string, i int) {
	m.t.Helper()
	m.over(m.t.Context(), dir, i, false, 1+m.rand.Int64N(200<<10))
	if _, err := os.Lstat(filepath.Join(dir, key)); !errors.Is(err, fs.ErrNotExist) {
		m.t.Errorf("the key stands there: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".lifeboat-partial")); err == nil {
		if _, err := restore.NewDirectory(dir, 0); !errors.Is(err, restore.ErrRefused) {
			m.t.Errorf("a restore that does not reuse is not refused: %v", err)
		}
	}
}

// tamper changes what stands in a directory in every way that a file system has.
func (m *model) tamper(dir, outside string) {
	m.t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path != dir && d.Name() != key {
			paths = append(paths, path)
		}
		return err
	})
	for n := range m.rand.IntN(5) {
		if len(paths) == 0 || err != nil {
			break
		}
		path := paths[m.rand.IntN(len(paths))]
		info, lerr := os.Lstat(path)
		if lerr != nil {
			continue // it went with its directory
		}
		switch kind := m.rand.IntN(8); {
		case kind == 0:
			err = os.RemoveAll(path)
		case kind == 1:
			err = errors.Join(os.RemoveAll(path), os.Symlink(outside, path))
		case kind == 2:
			err = errors.Join(os.RemoveAll(path), os.Link(outside, path))
		case kind == 3:
			err = errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "deep", "er"), 0o700))
		case kind == 4 && info.IsDir():
			err = os.WriteFile(filepath.Join(path, "young"), m.bytes(1+n), 0o600)
		case !info.IsDir() && sameFile(path, outside): // it shall not be changed by this test
		case kind == 5 && info.Mode().IsRegular():
			err = os.Truncate(path, m.rand.Int64N(2*info.Size()+10))
		case info.Mode().IsRegular():
			err = m.scribble(path, info.Size())
		}
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func sameFile(a, b string) bool { return os.SameFile(must(os.Stat(a)), must(os.Stat(b))) }

// scribble overwrites a part of a file.
func (m *model) scribble(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil // a test that is not run by root
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(m.bytes(1+m.rand.IntN(5000)), m.rand.Int64N(size+1))
	return errors.Join(err, f.Close())
}

// TestReuseGivenBack takes a directory over, and fails before anything was changed: it is as it was.
func TestReuseGivenBack(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{key: "1", "a": "2"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checks := 0
	sink, err := restore.ReuseDirectory(dir, 0, restore.Reuse{Key: key, Identity: "test", Check: func(at string) error {
		if checks++; checks == 1 {
			return nil
		}
		if _, err := os.Stat(filepath.Join(dir, key)); err == nil || at == dir {
			t.Errorf("looked at a second time, the key still stands there")
		}
		return errors.New("somebody opened it")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Take(); !errors.Is(err, restore.ErrRefused) {
		t.Errorf("taken over in spite of the second look: %v", err)
	}
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	entries := must(os.ReadDir(dir))
	if len(entries) != 2 || entries[0].Name() != key || entries[1].Name() != "a" {
		t.Errorf("given back: %v", entries)
	}
	if f := (snapshot.File{Name: "a", Kind: snapshot.Stream, Size: 1}); sink.Surplus([]snapshot.File{f}) != 1 {
		t.Error("the key is no surplus")
	}
}
