package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"lifeboat/target"
	"lifeboat/target/faulty"
)

// founded returns a state directory and a target that hold n records.
func founded(t *testing.T, h *house, n int) (string, shore, *Chain) {
	t.Helper()
	dir, s, c := t.TempDir(), newShore(t), h.chain(n)
	s.records(c)
	if err := WriteHead(dir, c); err != nil {
		t.Fatal(err)
	}
	return dir, s, c
}

// reopen is the next process: it knows what head and target say.
func (h *house) reopen(t *testing.T, dir string, s shore) *Writer {
	t.Helper()
	c, err := extended(t, s)
	if err != nil {
		t.Fatal(err)
	}
	head, err := ReadHead(dir)
	if err == nil {
		known := &Chain{}
		for _, e := range c.Entries()[:min(head.Seq, c.Len())] {
			if err := known.Append(e.Raw); err != nil {
				t.Fatal(err)
			}
		}
		if known.Head() != head.Hash {
			t.Fatalf("the head is %d %s, the target has %d %s", head.Seq, head.Hash, known.Len(), known.Head())
		}
		c = known
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return NewWriter(dir, h.root.Repository, h.signer, c, h.clock(), "tester@house")
}

func pending(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, pendingFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}

func TestCommit(t *testing.T) {
	h := newHouse(t)
	dir, s := t.TempDir(), newShore(t)
	if _, err := ReadHead(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no head: %v", err)
	}
	w := NewWriter(dir, h.root.Repository, h.signer, &Chain{}, h.clock(), "tester@house")
	if _, err := w.Commit(t.Context(), s, snapshotRecord(1)); err == nil || pending(t, dir) != nil {
		t.Errorf("a first record that founds nothing: %v", err)
	}
	for i, r := range []Record{h.initRecord(), snapshotRecord(1), {Type: Keys, Reason: "a \"reason\"\nwith a line", Keys: &KeysBody{Recipients: []string{"x"}}}} {
		e, err := w.Commit(t.Context(), s, r)
		if err != nil || e.Seq != uint64(i+1) || e.By != "tester@house" || e.Type != r.Type || e.Reason != r.Reason {
			t.Fatalf("record %d: %+v, %v", i+1, e.Record, err)
		}
		if head, err := ReadHead(dir); err != nil || head.Seq != e.Seq || head.Hash != Hash(e.Raw) || pending(t, dir) != nil {
			t.Errorf("record %d: head %+v (%v)", i+1, head, err)
		}
		if b, err := target.Read(t.Context(), s, Name(e.Seq), 1<<20); err != nil || !bytes.Equal(b, e.Raw) {
			t.Errorf("record %d is not what stands: %v", i+1, err)
		}
	}
	if c, err := extended(t, s); err != nil || c.Head() != w.Chain().Head() {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, headFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadHead(dir); err == nil {
		t.Error("half a head was read")
	}
}

// TestCommitFails lets the Put of a record fail in every way. The next run, or the same one, ends with the bytes that were signed first, and
// commits nothing before.
func TestCommitFails(t *testing.T) {
	h := newHouse(t)
	for name, fault := range map[string]faulty.Fault{
		"before": faulty.Fail(syscall.EIO), "full": faulty.Full(10), "reply lost": faulty.FailAfter(syscall.ECONNRESET),
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " same process ", again), func(t *testing.T) {
				dir, s, _ := founded(t, h, 2)
				f := faulty.New(s)
				w := h.reopen(t, dir, s)
				s.write("packs/00/"+fmt.Sprintf("%064x", 1), []byte("12345"))
				f.Queue(faulty.Put, fault)
				if _, err := w.Commit(t.Context(), f, snapshotRecord(1)); err == nil || w.Chain().Len() != 2 {
					t.Fatalf("committed, %v", err)
				}
				signed := pending(t, dir)
				if signed == nil {
					t.Fatal("nothing is pending")
				}
				want := uint64(3)
				if !again {
					w = h.reopen(t, dir, s)
				}
				if _, err := w.Commit(t.Context(), f, snapshotRecord(2)); !errors.Is(err, ErrPending) || !bytes.Equal(pending(t, dir), signed) {
					t.Fatalf("a record in the place of the pending one: %v", err)
				}
				if err := w.Recover(t.Context(), []target.Target{f}); err != nil {
					t.Fatal(err)
				}
				if again {
					e, err := w.Commit(t.Context(), f, snapshotRecord(2))
					if want = 4; err != nil || e.Seq != want {
						t.Fatalf("the next record: %d, %v", e.Seq, err)
					}
				}
				finished(t, dir, s, w, signed, want)
			})
		}
	}
}

// finished checks that record 3 is signed, that n records stand and that nothing is left to do.
func finished(t *testing.T, dir string, s shore, w *Writer, signed []byte, n uint64) {
	t.Helper()
	c, err := extended(t, s)
	if err != nil || c.Len() != n || !bytes.Equal(c.Entries()[2].Raw, signed) {
		t.Errorf("%d records stand (%v), or record 3 has other bytes", c.Len(), err)
	}
	head, err := ReadHead(dir)
	if err != nil || head.Seq != n || head.Hash != c.Head() || w.Chain().Head() != c.Head() || pending(t, dir) != nil {
		t.Errorf("head %+v, %v", head, err)
	}
	if err := w.Recover(t.Context(), []target.Target{s}); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// TestCommitCrashes stops a commit between any two of its steps, with the head file lost too, and goes on.
func TestCommitCrashes(t *testing.T) {
	h := newHouse(t)
	for _, stored := range []bool{false, true} {
		for _, headWritten := range []bool{false, true} {
			for _, headLost := range []bool{false, true} {
				if headWritten && !stored {
					continue // the order of Commit
				}
				t.Run(fmt.Sprintf("stored %t, head %t, lost %t", stored, headWritten, headLost), func(t *testing.T) {
					dir, s, c := founded(t, h, 2)
					signed := h.raw(c, snapshotRecord(1), nil)
					if err := os.WriteFile(filepath.Join(dir, pendingFile), signed, 0o600); err != nil {
						t.Fatal(err)
					}
					if stored {
						s.write(Name(3), signed)
					}
					if headWritten {
						next := *c
						if err := errors.Join(next.Append(signed), WriteHead(dir, &next)); err != nil {
							t.Fatal(err)
						}
					}
					if headLost {
						if err := os.Remove(filepath.Join(dir, headFile)); err != nil {
							t.Fatal(err)
						}
					}
					w := h.reopen(t, dir, s)
					digest := fmt.Sprintf("%064x", 1)
					s.write("packs/00/"+digest, []byte("12345"))
					if err := w.Recover(t.Context(), []target.Target{s}); err != nil {
						t.Fatal(err)
					}
					if headLost && stored {
						// The chain came from the target and holds the record: only the head is missing, which the host writes.
						if pending(t, dir) != nil {
							t.Error("the pending record is still there")
						}
						return
					}
					finished(t, dir, s, w, signed, 3)
				})
			}
		}
	}
}

// TestCommitCrashPoints stops the target before each of its writes.
func TestCommitCrashPoints(t *testing.T) {
	h := newHouse(t)
	for n := range 2 {
		dir, s, _ := founded(t, h, bundleSize) // a bundle is due before the next record
		f := faulty.New(s)
		w := h.reopen(t, dir, s)
		f.CrashAfter(n)
		if _, err := w.Commit(t.Context(), f, Record{Type: Keys, Keys: &KeysBody{}}); !errors.Is(err, faulty.ErrCrashed) {
			t.Fatalf("crash after %d writes: %v", n, err)
		}
		signed := pending(t, dir)
		if (signed != nil) != (n == 1) {
			t.Errorf("crash after %d writes: pending %d bytes", n, len(signed))
		}
		w = h.reopen(t, dir, s)
		f.CrashAfter(-1)
		if err := w.Recover(t.Context(), []target.Target{f}); err != nil {
			t.Fatal(err)
		}
		e, err := w.Commit(t.Context(), f, Record{Type: Keys, Keys: &KeysBody{}})
		if err != nil || e.Seq != uint64(bundleSize+1+n) {
			t.Errorf("crash after %d writes: then record %d, %v", n, e.Seq, err)
		}
		if got := w.Chain().Entries()[bundleSize].Raw; n == 1 && !bytes.Equal(got, signed) {
			t.Error("record 257 has other bytes than were signed first")
		}
		if c, err := extended(t, s); err != nil || c.Head() != w.Chain().Head() {
			t.Errorf("crash after %d writes: %v", n, err)
		}
	}
}

// TestRecoverWaits keeps a record whose objects stand nowhere.
func TestRecoverWaits(t *testing.T) {
	h := newHouse(t)
	dir, s, c := founded(t, h, 2)
	signed := h.raw(c, snapshotRecord(1), nil)
	if err := os.WriteFile(filepath.Join(dir, pendingFile), signed, 0o600); err != nil {
		t.Fatal(err)
	}
	w := h.reopen(t, dir, s)
	for _, targets := range [][]target.Target{nil, {s}, {newShore(t)}} {
		if err := w.Recover(t.Context(), targets); !errors.Is(err, ErrPending) {
			t.Errorf("%d targets: %v, want ErrPending", len(targets), err)
		}
	}
	if _, err := w.Commit(t.Context(), s, Record{Type: Keys, Keys: &KeysBody{}}); !errors.Is(err, ErrPending) || !bytes.Equal(pending(t, dir), signed) {
		t.Errorf("another record took its place: %v", err)
	}
	digest := fmt.Sprintf("%064x", 1)
	s.write("packs/00/"+digest, []byte("1234"))
	if err := w.Recover(t.Context(), []target.Target{s}); !errors.Is(err, ErrPending) {
		t.Errorf("an object of another size: %v", err)
	}
	s.write("packs/00/"+digest, []byte("12345"))
	down := faulty.New(newShore(t))
	down.Random(1, faulty.Chance{Method: faulty.Get, P: 1, Draw: faulty.Same(faulty.Fail(syscall.EHOSTDOWN))})
	if err := w.Recover(t.Context(), []target.Target{down, s}); err != nil {
		t.Fatalf("one target is down, the other has everything: %v", err)
	}
	finished(t, dir, s, w, signed, 3)
	if err := os.WriteFile(filepath.Join(dir, pendingFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(t.Context(), []target.Target{s}); !errors.Is(err, ErrBroken) {
		t.Errorf("a damaged pending record: %v", err)
	}
	if err := errors.Join(DiscardPending(dir), DiscardPending(dir)); err != nil || pending(t, dir) != nil {
		t.Errorf("discard: %v", err)
	}
}

// TestTwoWriters lets a copy of the state directory write too: the second is refused, whoever it is.
func TestTwoWriters(t *testing.T) {
	h := newHouse(t)
	dir, s, _ := founded(t, h, 2)
	clone := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(clone, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	one, two := h.reopen(t, dir, s), h.reopen(t, clone, s)
	if _, err := one.Commit(t.Context(), s, Record{Type: Keys, Keys: &KeysBody{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Commit(t.Context(), s, Record{Type: Keys, Keys: &KeysBody{}}); !errors.Is(err, ErrForeign) {
		t.Errorf("the second writer: %v, want ErrForeign", err)
	}
	if _, err := Position(t.Context(), s, two.Chain()); !errors.Is(err, ErrForeign) {
		t.Errorf("its position: %v", err)
	}
	two = h.reopen(t, clone, s)
	if err := two.Recover(t.Context(), []target.Target{s}); !errors.Is(err, ErrForeign) || !errors.Is(err, ErrPending) {
		t.Errorf("its next run: %v", err)
	}
	if _, err := one.Commit(t.Context(), s, Record{Type: Keys, Keys: &KeysBody{}}); err != nil {
		t.Errorf("the first goes on: %v", err)
	}
	if c, err := extended(t, s); err != nil || c.Head() != one.Chain().Head() {
		t.Error(err)
	}
}
