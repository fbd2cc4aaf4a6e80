package restore_test

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// entries is a view of what it holds, whatever that is.
type entries []snapshot.Item

// Items implements snapshot.View.
func (e entries) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		for _, item := range e {
			if item.Mode == 0 {
				item.Mode = 0o700
			}
			if item.Kind == snapshot.Stream {
				item.Size, item.Body = int64(len(item.Name)), strings.NewReader(item.Name)
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

func (e entries) Summary() (snapshot.Summary, error) { return snapshot.Summary{}, nil }
func (e entries) Size() int64                        { return 0 }
func (e entries) Close() error                       { return nil }

// bring takes a snapshot of entries and restores it; links says whether symbolic ones may be in it.
func bring(t *testing.T, e entries, links bool) (dir string, err error) {
	t.Helper()
	m := newModel(t, 7)
	w := must(chunkstore.NewWriter(t.Context(), m.target, m.keys, crypto.Fast))
	s, err := snapshot.Take(t.Context(), snapshot.Job{Source: "s", Engine: "files", View: e, Chunks: w, IDs: m.keys.IDs, Polynomial: m.pol, Known: m.catalog, MapDir: m.maps})
	if err != nil {
		t.Fatal(err)
	}
	m.packs = must(w.Finish())
	r := m.reader()
	tree := m.tree(r, s.Root)
	dir = filepath.Join(t.TempDir(), "restored")
	sink := must(restore.NewDirectory(dir, tree.Root.Size))
	sink.Tree = links
	_, err = restore.Run(t.Context(), restore.Job{Tree: tree, Frames: r, IDs: m.keys.IDs, Sink: sink, SpillDir: sink.Work()})
	return dir, errors.Join(err, sink.Close())
}

func link(name, where string) snapshot.Item {
	return snapshot.Item{Name: name, Kind: snapshot.Link, Link: where}
}

func stream(name string) snapshot.Item { return snapshot.Item{Name: name, Kind: snapshot.Stream} }

// TestHostileLinks has trees that try to get something written through a link.
func TestHostileLinks(t *testing.T) {
	outside := t.TempDir()
	for name, e := range map[string]entries{
		"a file below a link":           {link("a", outside), stream("a/b")},
		"with a name between":           {link("a", outside), stream("a-b"), stream("a/b")},
		"a directory below a link":      {link("a", outside), {Name: "a/b", Kind: snapshot.Dir}},
		"a link below a link":           {link("a", outside), link("a/b", "c")},
		"far below a link that goes up": {link("a", "../.."), stream("a/b/c/d")},
		"a link below a file":           {stream("a"), link("a/b", outside)},
	} {
		dir, err := bring(t, e, true)
		if !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was restored (%v)", name, err)
		}
	}
	if left := must(os.ReadDir(outside)); len(left) > 0 {
		t.Errorf("%s was written", left[0].Name())
	}
	if _, err := bring(t, entries{link("crm.db", "/etc/passwd")}, false); !errors.Is(err, crypto.ErrDamaged) {
		t.Errorf("a link in a snapshot of a database: %v", err)
	}
}

// TestLinksAndOwners restores links as they are, and what root may restore of owners, also in directories that close what is below them.
func TestLinksAndOwners(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2021, 2, 3, 4, 5, 6, 789_012_345, time.UTC)
	owner := &snapshot.Owner{UID: 1234, GID: 4321}
	e := entries{
		{Name: "closed", Kind: snapshot.Dir, Mode: 0o100, ModTime: at, Owner: owner},
		{Name: "closed/abs", Kind: snapshot.Link, Link: outside, ModTime: at, Owner: owner},
		{Name: "closed/deep/file", Kind: snapshot.Stream, Mode: 0o604, ModTime: at, Owner: owner},
		link("dangling", "no/such"), link("self", "self"), link("up", "../../../.."), link("\xff\nodd", "\xfe %41"), stream("z"),
	}
	dir, err := bring(t, e, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range e {
		path := filepath.Join(dir, item.Name)
		info, err := os.Lstat(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if !item.ModTime.IsZero() && !info.ModTime().Equal(at) {
			t.Errorf("%s: time %v", item.Name, info.ModTime())
		}
		if where, err := os.Readlink(path); item.Kind == snapshot.Link && (err != nil || where != item.Link) {
			t.Errorf("%s leads to %q (%v)", item.Name, where, err)
		}
		if item.Kind != snapshot.Link && item.Mode != 0 && info.Mode().Perm() != item.Mode {
			t.Errorf("%s: mode %v", item.Name, info.Mode())
		}
		want := *owner
		if item.Owner == nil || os.Geteuid() != 0 {
			want = snapshot.Owner{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != want.UID || st.Gid != want.GID {
			t.Errorf("%s: belongs to %+v", item.Name, st)
		}
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "as it was" {
		t.Errorf("what a link leads to is %q (%v)", b, err)
	}
	if info, err := os.Stat(outside); err != nil || info.ModTime().Equal(at) {
		t.Errorf("what a link leads to has its time (%v)", err)
	}
}
