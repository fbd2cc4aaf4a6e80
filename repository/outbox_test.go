package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// happened is something to note: the n-th refusal.
func happened(n int) repository.Noted {
	at := time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC)
	return repository.Noted{Record: journal.Record{Type: journal.Denied, By: "stranger@host", From: "pts/7", Happened: &at, Denied: &journal.DeniedBody{At: "socket", Who: "user 1000", Count: n}}}
}

// written is a policy to note, with its text.
func written(text string) repository.Noted {
	n := happened(0)
	sum := sha256.Sum256([]byte(text))
	n.Record.Type, n.Record.Denied = journal.Policy, nil
	n.Record.Policy, n.Document = &journal.PolicyBody{Policy: "0123456789abcdef", Digest: hex.EncodeToString(sum[:])}, []byte(text)
	return n
}

func (v *vessel) note(all ...repository.Noted) {
	v.t.Helper()
	for _, n := range all {
		if err := repository.Note(v.path("state"), n); err != nil {
			v.t.Fatal(err)
		}
	}
}

// outbox is how many entries wait, damaged ones included.
func (v *vessel) outbox() int {
	n, _ := repository.Unrecorded(v.path("state"))
	return n
}

// opened opens the repository for writing and closes it again. It returns what was warned of, and what went wrong with copies.
func (v *vessel) openHost(w wrap) (warned []string, copies []*repository.Copy, err error) {
	v.t.Helper()
	c := v.config(local.Open, w)
	c.Warn = func(err error) { warned = append(warned, err.Error()) }
	h, err := repository.OpenHost(v.t.Context(), c)
	if err != nil {
		return warned, c.Copies, err
	}
	return warned, c.Copies, h.Close()
}

// merged is openHost where nothing may go wrong.
func (v *vessel) merged() {
	v.t.Helper()
	warned, copies, err := v.openHost(nil)
	if err := errors.Join(err, trouble(copies)); err != nil || len(warned) > 0 {
		v.t.Fatalf("%v, warned: %q", err, warned)
	}
	if n := v.outbox(); n != 0 {
		v.t.Errorf("%d entries still wait", n)
	}
}

// refusals lists the counts of the refusals that are recorded on a copy, in their order.
func (v *vessel) refusals(name string) (out []int) {
	v.t.Helper()
	for _, e := range v.reader(name).Chain.Entries() {
		if e.Denied != nil {
			out = append(out, e.Denied.Count)
		}
	}
	return out
}

// TestNoted records what was noted, in its order, as of whom and when it happened; the documents open for readers, and for nobody else.
func TestNoted(t *testing.T) {
	v := newVessel(t, 1, "disk", "usb")
	const text = `{"retention":"30d"}`
	n := happened(1)
	n.Record.By, n.Record.Reason = "eve\x1b[2J\n"+strings.Repeat("x", 300), "because"
	v.note(n, written(text), happened(2))
	if n, oldest := repository.Unrecorded(v.path("state")); n != 3 || time.Since(oldest) > time.Minute {
		t.Errorf("%d wait since %s", n, oldest)
	}
	before := v.head()
	v.merged()
	for _, name := range v.names {
		r := v.reader(name)
		fresh := r.Chain.Entries()[before:]
		if len(fresh) != 3 || fresh[0].Denied.Count != 1 || fresh[1].Policy == nil || fresh[2].Denied.Count != 2 {
			t.Fatalf("%s: %d records", name, len(fresh))
		}
		first := fresh[0]
		if !strings.HasPrefix(first.By, "eve?[2J?x") || len(first.By) > 200 || first.From != "pts/7" || first.Reason != "because" || first.Happened.Year() != 2026 || len(first.Note) != 32 || !first.Time.After(*first.Happened) {
			t.Errorf("%+v", first.Record)
		}
		v.documented(name, fresh[1], text)
		if _, err := r.Document(t.Context(), first); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the document of a record without one: %v", err)
		}
		v.sound(name)
	}
	v.backUp()
	if last := v.newestRecord("disk"); last.By != "test@host" || last.From != "" || last.Note != "" {
		t.Errorf("the writer's own: %+v", last.Record)
	}
}

// newestRecord is the newest record of a copy.
func (v *vessel) newestRecord(name string) journal.Entry {
	all := v.reader(name).Chain.Entries()
	return all[len(all)-1]
}

// documented wants the document of a record to open with the master identity, by the library and by age alone, and not with the host's keys.
func (v *vessel) documented(name string, e journal.Entry, text string) {
	v.t.Helper()
	r := v.reader(name)
	if got, err := r.Document(v.t.Context(), e); err != nil || string(got) != text {
		v.t.Errorf("%s: %q, %v", name, got, err)
	}
	keys, err := repository.HostKeys(v.path("state"))
	if err == nil {
		err = r.UnlockHost(v.t.Context(), keys)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	if _, err := r.Document(v.t.Context(), e); !errors.Is(err, crypto.ErrIdentity) {
		v.t.Errorf("%s: with the host's keys: %v", name, err)
	}
	sealed, err := target.Read(v.t.Context(), r.Target, e.Objects[0].Name, 1<<20)
	if err != nil || bytes.Contains(sealed, []byte(text)) {
		v.t.Fatalf("%s: it stands in plain, or not at all: %v", name, err)
	}
	epochs, err := v.epochs(name)
	if err != nil {
		v.t.Fatal(err)
	}
	plain, err := age.Decrypt(bytes.NewReader(sealed), epochs...)
	if err != nil {
		v.t.Fatal(err)
	}
	if b, err := io.ReadAll(plain); err != nil || string(b) != text {
		v.t.Errorf("%s: with age alone: %q, %v", name, b, err)
	}
}

// epochs opens the key files of the epochs as somebody does by hand.
func (v *vessel) epochs(name string) (ids []age.Identity, err error) {
	for _, k := range v.reader(name).KeyFiles() {
		if !strings.HasPrefix(k.What, "epoch") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(v.path(name), filepath.FromSlash(k.Object)))
		if err != nil {
			return nil, err
		}
		if b, err = crypto.OpenSealed(b, []age.Identity{v.master}); err != nil {
			return nil, err
		}
		s, err := crypto.ParseEpochSecret(b)
		if err != nil {
			return nil, err
		}
		id, _, err := s.Open()
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// TestNotedOnce finds an entry whose record stands already: the run died before it removed the entry.
func TestNotedOnce(t *testing.T) {
	v := newVessel(t, 2, "disk")
	v.note(happened(1), written("text"), happened(2))
	kept := t.TempDir()
	if err := os.CopyFS(kept, os.DirFS(v.path("state/outbox"))); err != nil {
		t.Fatal(err)
	}
	v.merged()
	head := v.head()
	v.backUp()
	if err := os.CopyFS(v.path("state/outbox"), os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	v.note(happened(3))
	v.merged()
	if got := v.refusals("disk"); !slices.Equal(got, []int{1, 2, 3}) || v.head() != head+2 {
		t.Errorf("recorded: %v, the head went from %d to %d", got, head, v.head())
	}
}

// TestNotedDamaged moves aside what nobody can read, tells it, and records the others.
func TestNotedDamaged(t *testing.T) {
	harm := map[string]func(path string, b []byte) error{
		"a bit":     func(path string, b []byte) error { b[len(b)/2] ^= 1; return os.WriteFile(path, b, 0o600) },
		"cut":       func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)/2], 0o600) },
		"empty":     func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"directory": func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"renamed": func(path string, b []byte) error {
			return errors.Join(os.Remove(path), os.WriteFile(filepath.Join(filepath.Dir(path), "000000000002-"+strings.Repeat("0", 32)+".json"), b, 0o600))
		},
	}
	for how, do := range harm {
		t.Run(how, func(t *testing.T) {
			v := newVessel(t, 3, "disk")
			v.note(happened(1), happened(2), happened(3))
			found, err := filepath.Glob(v.path("state/outbox/000000000002-*"))
			if err != nil || len(found) != 1 {
				t.Fatal(found, err)
			}
			b, err := os.ReadFile(found[0])
			if err := errors.Join(err, do(found[0], b)); err != nil {
				t.Fatal(err)
			}
			warned, copies, err := v.openHost(nil)
			if err := errors.Join(err, trouble(copies)); err != nil || len(warned) != 1 || !strings.Contains(warned[0], "damaged-000000000002-") {
				t.Fatalf("%v, warned: %q", err, warned)
			}
			if got := v.refusals("disk"); !slices.Equal(got, []int{1, 3}) || v.outbox() != 1 {
				t.Errorf("recorded: %v, %d wait", got, v.outbox())
			}
			v.note(happened(4))
			if warned, _, err := v.openHost(nil); err != nil || len(warned) > 0 || v.outbox() != 1 {
				t.Errorf("afterwards: %v, warned: %q, %d wait", err, warned, v.outbox())
			}
		})
	}
}

// TestNotedElsewhere does not record what happened to another repository.
func TestNotedElsewhere(t *testing.T) {
	v := newVessel(t, 4, "disk")
	own, other := happened(1), happened(2)
	own.Record.Repository = v.reader("disk").Chain.Repository()
	other.Record.Repository = crypto.ID{1}
	v.note(own, other)
	if warned, _, err := v.openHost(nil); err != nil || len(warned) != 1 || !strings.Contains(warned[0], "it is of repository 01") {
		t.Fatalf("%v, warned: %q", err, warned)
	}
	if got := v.refusals("disk"); !slices.Equal(got, []int{1}) {
		t.Errorf("recorded: %v", got)
	}
}

// TestNotedAway keeps what was noted until a target takes records.
func TestNotedAway(t *testing.T) {
	v := newVessel(t, 5, "disk")
	v.note(happened(1))
	if err := os.Rename(v.path("disk"), v.path("away")); err != nil {
		t.Fatal(err)
	}
	if warned, _, err := v.openHost(nil); err != nil || len(warned) > 0 || v.outbox() != 1 {
		t.Fatalf("%v, warned: %q, %d wait", err, warned, v.outbox())
	}
	if err := os.Rename(v.path("away"), v.path("disk")); err != nil {
		t.Fatal(err)
	}
	v.merged()
}

// TestNotedFails lets the first copy fail at each of its objects: the other one takes the record, and a backup goes on.
func TestNotedFails(t *testing.T) {
	broken := errors.New("the cable is out")
	for n := range 3 {
		for _, lasting := range []bool{false, true} {
			t.Run(fmt.Sprintf("put %d, lasting %t", n, lasting), func(t *testing.T) {
				v := newVessel(t, 6, "disk", "usb")
				v.note(written("one"), happened(1))
				var mu sync.Mutex
				left := n
				out := func(in target.Target) target.Target {
					return hooked{in, func(_ context.Context, m faulty.Method, _ string) error {
						mu.Lock()
						defer mu.Unlock()
						if m == faulty.Put {
							left--
						}
						if left == -1 && m == faulty.Put || left < 0 && lasting {
							return broken
						}
						return nil
					}}
				}
				v.load()
				if _, _, err := v.try(t.Context(), v.cargo, on("disk", out)); err != nil {
					t.Fatal(err)
				}
				v.backUp()
				if v.outbox() != 0 {
					t.Errorf("%d entries wait", v.outbox())
				}
				for _, name := range v.names {
					if got := v.refusals(name); !slices.Equal(got, []int{1}) {
						t.Errorf("%s: %v", name, got)
					}
					v.sound(name)
				}
			})
		}
	}
}

// TestNoteTogether notes from many sides at once, while what was noted is being recorded.
func TestNoteTogether(t *testing.T) {
	v := newVessel(t, 7, "disk")
	const sides, each = 6, 15
	var wait sync.WaitGroup
	for side := range sides {
		wait.Go(func() {
			for n := range each {
				if err := repository.Note(v.path("state"), happened(side*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		if warned, _, err := v.openHost(nil); err != nil || len(warned) > 0 {
			t.Errorf("%v, warned: %q", err, warned)
		}
	}
	wait.Wait()
	v.merged()
	got := v.refusals("disk")
	for side := range sides { // what one side notes stays in its order
		var own []int
		for _, n := range got {
			if n/each == side {
				own = append(own, n)
			}
		}
		if len(own) != each || !slices.IsSorted(own) {
			t.Errorf("side %d: %v", side, own)
		}
	}
}

// TestNoteRefused notes nothing that would not get into the journal, nor more than there is room for.
func TestNoteRefused(t *testing.T) {
	v := newVessel(t, 8, "disk")
	wrong := map[string]func(n *repository.Noted){
		"nobody":           func(n *repository.Noted) { n.Record.By = "" },
		"no time":          func(n *repository.Noted) { n.Record.Happened = nil },
		"no details":       func(n *repository.Noted) { n.Record.Policy = nil },
		"a drop":           func(n *repository.Noted) { n.Record.Type, n.Record.Drop = journal.Drop, &journal.DropBody{Seq: 2} },
		"no document":      func(n *repository.Noted) { n.Document = nil },
		"another document": func(n *repository.Noted) { n.Document = []byte("another") },
		"no digest":        func(n *repository.Noted) { n.Record.Policy.Digest = "../../etc/passwd" },
		"a long document":  func(n *repository.Noted) { *n = written(strings.Repeat("x", crypto.MaxDocument+1)) },
	}
	for what, spoil := range wrong {
		n := written("text")
		spoil(&n)
		if err := repository.Note(v.path("state"), n); err == nil {
			t.Errorf("%s: noted", what)
		}
	}
	if err := repository.Note(v.path("nowhere"), happened(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a state directory: %v", err)
	}
	large := written(strings.Repeat("x", crypto.MaxDocument))
	v.note(large, large)
	if err := repository.Note(v.path("state"), large); err == nil || !strings.Contains(err.Error(), "bring a target back") {
		t.Errorf("without room: %v", err)
	}
	v.note(happened(1))
	v.merged()
	if got := v.refusals("disk"); !slices.Equal(got, []int{1}) {
		t.Errorf("recorded: %v", got)
	}
	if info, err := os.Stat(v.path("state/outbox")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestNoteCrashes removes what a crash left of an entry, and nothing that is being written.
func TestNoteCrashes(t *testing.T) {
	v := newVessel(t, 9, "disk")
	v.note(happened(1))
	f, err := atomicfile.Create(v.path("state/outbox/000000000009-" + strings.Repeat("a", 32) + ".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v.merged()
	if _, err := os.Stat(f.Name()); err != nil {
		t.Errorf("what is being written: %v", err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(f.Name(), old, old); err != nil {
		t.Fatal(err)
	}
	v.note(happened(2))
	v.merged()
	if _, err := os.Stat(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a crash left: %v", err)
	}
}

// TestDocumentsAreKept brings documents to new copies and heals them, keeps them through collections, and removes those that no record names.
func TestDocumentsAreKept(t *testing.T) {
	v := newVessel(t, 10, "disk")
	v.note(written("first"))
	v.merged()
	e := v.newestRecord("disk")
	orphan := filepath.Join(v.path("disk"), "documents", strings.Repeat("ab", 32))
	if err := os.WriteFile(orphan, []byte("of a run that died"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.backUp()
	v.shift += pastGrace
	if got := v.collected(2); got.Orphans != 1 {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(orphan); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the garbage: %v", err)
	}
	v.names = append(v.names, "usb")
	if err := v.init(); err != nil {
		t.Fatal(err)
	}
	v.documented("usb", e, "first")
	name := filepath.Join(v.path("disk"), filepath.FromSlash(e.Objects[0].Name))
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if r := v.check("disk"); len(r.Damage) != 1 || r.Damage[0].What != e.Objects[0].Name {
		t.Errorf("the check says %v", r.Damage)
	}
	r := v.reader("disk")
	if _, err := r.Document(t.Context(), e); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a document that is missing: %v", err)
	}
	missed := 0
	r.Siblings, r.Missed = []target.Target{v.reader("usb").Target}, func(int, error) { missed++ }
	if got, err := r.Document(t.Context(), e); err != nil || string(got) != "first" || missed != 1 {
		t.Errorf("from the other copy: %q, %v, missed %d", got, err, missed)
	}
	v.healed()
	v.documented("disk", e, "first")
}

// healed repairs all copies from each other.
func (v *vessel) healed() {
	v.t.Helper()
	c := v.config(local.Open, nil)
	h := repository.Healing{Chain: v.reader("usb").Chain, Copies: c.Copies, Damaged: map[string]map[string]bool{}, WorkDir: v.t.TempDir(), StateDir: v.path("state")}
	for _, copied := range c.Copies {
		if err := h.Examine(v.t.Context(), copied, func(int64) {}, func(int64) {}); err != nil {
			v.t.Fatal(err)
		}
	}
	for _, copied := range c.Copies {
		if done, err := h.Heal(v.t.Context(), copied); err != nil || len(done.Lost) > 0 {
			v.t.Fatalf("%+v, %v", done, err)
		}
	}
}

// TestPolicies records policies that are new, changed or gone, and no others; what cannot be recorded is refused.
func TestPolicies(t *testing.T) {
	v := newVessel(t, 11, "disk", "usb")
	record := func(w wrap, texts map[string][]byte) error {
		t.Helper()
		h, err := repository.OpenHost(t.Context(), v.config(local.Open, w))
		if err != nil {
			t.Fatal(err)
		}
		return errors.Join(h.RecordPolicies(t.Context(), texts), h.Close())
	}
	for n, step := range []struct {
		texts map[string][]byte
		new   int // records
	}{
		{nil, 0},
		{map[string][]byte{"a": []byte("1"), "b": []byte("1")}, 2},
		{map[string][]byte{"a": []byte("1"), "b": []byte("1")}, 0},
		{map[string][]byte{"a": []byte("the second text"), "b": []byte("1")}, 1},
		{map[string][]byte{"b": []byte("1")}, 1},
		{map[string][]byte{"b": []byte("1")}, 0},
		{map[string][]byte{"a": []byte("the second text"), "b": []byte("1")}, 1},
	} {
		before := v.head()
		if err := record(nil, step.texts); err != nil {
			t.Fatal(err)
		}
		if got := int(v.head() - before); got != step.new {
			t.Errorf("step %d: %d records, want %d", n, got, step.new)
		}
	}
	last := v.newestRecord("usb")
	if last.By != "test@host" || last.Happened != nil {
		t.Errorf("%+v", last.Record)
	}
	v.documented("usb", last, "the second text")
	full := func(_ string, in target.Target) target.Target {
		return hooked{in, func(_ context.Context, m faulty.Method, name string) error {
			if m == faulty.Put && strings.HasPrefix(name, "documents/") {
				return errors.New("no room")
			}
			return nil
		}}
	}
	before := v.head()
	if err := record(full, map[string][]byte{"b": []byte("other rules")}); !errors.Is(err, restore.ErrRefused) || v.head() != before {
		t.Errorf("where it cannot be recorded: %v", err)
	}
	if err := record(on("disk", func(in target.Target) target.Target { return full("", in) }), map[string][]byte{"b": []byte("other rules")}); err != nil {
		t.Errorf("where one copy takes it: %v", err)
	}
}
