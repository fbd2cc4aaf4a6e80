package repository_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// pair is a repository on two copies, and a drill host that reads them.
type pair struct {
	t          *testing.T
	dir        string
	master     []age.Identity
	recipients []crypto.Recipient
	warned     []error
}

// newPair founds the repository, and lets the drill host's key count.
func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, dir: t.TempDir()}
	master, err := age.GenerateHybridIdentity()
	p.must(err)
	p.master = []age.Identity{master}
	p.recipients, err = crypto.ParseRecipients([]string{master.Recipient().String()}, nil)
	p.must(err)
	h, err := repository.Init(t.Context(), p.config("state", nil), p.recipients)
	p.must(err)
	p.must(h.Close())
	key, err := repository.Enrol(p.path("vault"), p.reader(), "vault")
	p.must(err)
	p.host(nil, func(h *repository.Host) {
		role, err := h.Certify(t.Context(), p.master, key, "a test")
		if p.must(err); role != "drill-vault" {
			t.Errorf("certified %s", role)
		}
	})
	return p
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) path(elem ...string) string { return filepath.Join(append([]string{p.dir}, elem...)...) }

// config opens both copies; through leads to the one on disk.
func (p *pair) config(state string, through func(target.Target) target.Target) repository.Config {
	p.t.Helper()
	c := repository.Config{StateDir: p.path(state), Now: clock.System, By: "test@" + state, Warn: func(err error) { p.warned = append(p.warned, err) }}
	for _, name := range []string{"disk", "usb"} {
		to, err := local.Create(p.path(name))
		p.must(err)
		p.t.Cleanup(func() { _ = to.Close() }) // nothing depends on it any more
		copied := &repository.Copy{Name: name, Target: to}
		if name == "disk" && through != nil {
			copied.Target = through(to)
		}
		c.Copies = append(c.Copies, copied)
	}
	return c
}

func (p *pair) reader() *repository.Reader {
	p.t.Helper()
	t, err := local.Open(p.path("disk"))
	p.must(err)
	p.t.Cleanup(func() { _ = t.Close() }) // as above
	r, err := repository.Open(p.t.Context(), t)
	p.must(err)
	p.must(r.Unlock(p.t.Context(), p.master))
	return r
}

func (p *pair) host(through func(target.Target) target.Target, do func(*repository.Host)) {
	p.t.Helper()
	h, err := repository.OpenHost(p.t.Context(), p.config("state", through))
	p.must(err)
	do(h)
	p.must(h.Close())
}

// drill notes a drill on the drill host; its report is any text.
func (p *pair) drill(n int) {
	p.t.Helper()
	p.must(repository.Note(p.path("vault"), notedDrill(n)))
}

func notedDrill(n int) repository.Noted {
	at, text := time.Now().UTC(), fmt.Appendf(nil, "report %d", n)
	return repository.Noted{Document: text, Record: journal.Record{Type: journal.Drill, By: "robot@vault", Happened: &at, Drill: &journal.DrillBody{Source: "0123456789abcdef", Report: sum(string(text)), Result: "fail", Began: at}}}
}

// open opens the drill host, which records and brings away what was noted.
func (p *pair) open(c repository.Config) error {
	p.t.Helper()
	h, err := repository.OpenDrillHost(p.t.Context(), c, p.reader())
	if err != nil {
		return err
	}
	return h.Close()
}

// TestEnterKilled ends drill host and writer at each of their writes: every drill is entered once, in its order.
func TestEnterKilled(t *testing.T) {
	p := newPair(t)
	made := 0
	for n := 0; ; n++ {
		var dead *faulty.Target
		crash := func(in target.Target) target.Target { dead = faulty.New(in); dead.CrashAfter(n % 7); return dead }
		p.drill(made)
		made++
		if c := p.config("vault", crash); n%2 == 0 {
			p.must(p.open(c)) // a copy that fails hinders no drill
		} else {
			p.must(p.open(p.config("vault", nil)))
		}
		h, err := repository.OpenHost(t.Context(), p.config("state", crash))
		if err == nil {
			_, _ = h.Enter(t.Context()) // or the next one does it
			p.must(h.Close())
		}
		if n == 13 {
			break
		}
	}
	p.must(p.open(p.config("vault", nil)))
	p.host(nil, func(h *repository.Host) {
		if _, err := h.Enter(t.Context()); err != nil {
			t.Error(err)
		}
		if n, err := h.Enter(t.Context()); n > 0 || err != nil {
			t.Errorf("%d records were entered again, %v", n, err)
		}
		p.must(h.Replicate(t.Context()))
	})
	all := repository.Drills(p.reader().Chain, nil)
	if len(all) != made {
		t.Fatalf("%d drills are entered of %d", len(all), made)
	}
	for i, d := range all {
		text, err := p.reader().Document(t.Context(), *d.Entry)
		if want := fmt.Sprint("report ", i); err != nil || string(text) != want || d.Host != "drill-vault" {
			t.Errorf("drill %d of %s: %q, %v", i, d.Host, text, err)
		}
	}
}

// TestDrillHostSetBack finds a state directory that is older than what it has signed, and one that is there twice.
func TestDrillHostSetBack(t *testing.T) {
	for what, known := range map[string]func(*pair){
		"to a copy": func(*pair) {},
		"to the writer": func(p *pair) {
			p.host(nil, func(h *repository.Host) {
				_, err := h.Enter(t.Context())
				p.must(err)
			})
			for _, name := range []string{"disk", "usb"} {
				p.must(os.RemoveAll(p.path(name, "hosts")))
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPair(t)
			p.drill(1)
			p.must(p.open(p.config("vault", nil)))
			p.must(os.CopyFS(p.path("old"), os.DirFS(p.path("vault"))))
			p.must(os.Chmod(p.path("old", "drill-host.json"), 0o600))
			p.drill(2)
			p.must(p.open(p.config("vault", nil)))
			known(p)
			p.must(repository.Note(p.path("old"), notedDrill(3)))
			if err := p.open(p.config("old", nil)); !errors.Is(err, journal.ErrForeign) && !errors.Is(err, journal.ErrBroken) || !strings.Contains(err.Error(), "another name") {
				t.Errorf("a state directory that was set back: %v", err)
			}
			p.must(p.open(p.config("vault", nil)))
			if n, _ := repository.Unrecorded(p.path("old")); n != 1 {
				t.Errorf("%d entries wait in the one that was set back", n)
			}
		})
	}
}

// TestDrillHostRefused tries keys that do not count.
func TestDrillHostRefused(t *testing.T) {
	p := newPair(t)
	other, err := repository.Enrol(p.path("other"), p.reader(), "other")
	p.must(err)
	if err := p.open(p.config("other", nil)); !errors.Is(err, restore.ErrRefused) || !strings.Contains(err.Error(), other) {
		t.Errorf("nobody certified it: %v", err)
	}
	p.host(nil, func(h *repository.Host) {
		_, err := h.Certify(t.Context(), p.master, strings.Replace(other, "drill-other", "drill-vault", 1), "")
		if err == nil {
			t.Error("a key of another name was certified")
		}
		p.must(h.Revoke(t.Context(), p.master, "drill-vault", "a test"))
		if err := h.Revoke(t.Context(), p.master, "drill-vault", "a test"); !errors.Is(err, restore.ErrRefused) {
			t.Errorf("revoked twice: %v", err)
		}
	})
	p.drill(1)
	p.must(os.Chmod(p.path("other", "drill-host.json"), 0o644))
	if err := p.open(p.config("other", nil)); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("everybody can read its key: %v", err)
	}
	if err := p.open(p.config("vault", nil)); !errors.Is(err, restore.ErrRefused) || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("it was revoked: %v", err)
	}
	if _, err := repository.Init(t.Context(), p.config("other", nil), p.recipients); !errors.Is(err, restore.ErrRefused) {
		t.Errorf("its state directory becomes a writer's: %v", err)
	}
}

// TestEnterHostile lets a target hold something else than what the drill host recorded: nothing of that is entered, and all else goes on.
func TestEnterHostile(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		"a record":          func(dir string) error { return flip(filepath.Join(dir, "journal/writer/000000000002")) },
		"a record too long": func(dir string) error { return os.Truncate(filepath.Join(dir, "journal/writer/000000000002"), 2<<20) },
		"a record of another": func(dir string) error {
			return os.Rename(filepath.Join(dir, "journal/writer/000000000003"), filepath.Join(dir, "journal/writer/000000000002"))
		},
		"no document": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "documents")) },
	} {
		t.Run(what, func(t *testing.T) {
			p := newPair(t)
			for n := range 3 {
				p.drill(n)
			}
			p.must(p.open(p.config("vault", nil)))
			p.must(spoil(p.path("disk", "hosts", "drill-vault")))
			whole := p.path("usb", "hosts")
			p.must(os.Rename(whole, whole+".away"))
			before := len(p.warned)
			p.host(nil, func(h *repository.Host) {
				if n, err := h.Enter(t.Context()); err != nil || n > 1 {
					t.Errorf("%d records entered, %v", n, err)
				}
			})
			if len(p.warned) == before {
				t.Error("nobody is warned")
			}
			p.must(os.Rename(whole+".away", whole))
			p.host(nil, func(h *repository.Host) {
				_, err := h.Enter(t.Context())
				p.must(err)
			})
			if all := repository.Drills(p.reader().Chain, nil); len(all) != 3 {
				t.Errorf("%d drills were entered from the other copy", len(all))
			}
		})
	}
}

func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// TestDrillHostAcross goes on across a new epoch, a new copy and a new writer; a document that was lost on every copy comes back.
func TestDrillHostAcross(t *testing.T) {
	p := newPair(t)
	p.drill(0)
	p.must(p.open(p.config("vault", nil)))
	p.host(nil, func(h *repository.Host) { p.must(h.Rotate(t.Context(), p.master, p.recipients, "a test")) })
	p.drill(1)
	p.must(p.open(p.config("vault", nil)))
	for _, name := range []string{"disk", "usb"} {
		p.must(os.RemoveAll(p.path(name, "hosts", "drill-vault", "documents")))
	}
	p.host(nil, func(h *repository.Host) {
		if n, err := h.Enter(t.Context()); n > 0 || err != nil {
			t.Errorf("%d records were entered without their documents, %v", n, err)
		}
	})
	for range 2 { // the document of the next record comes back each time
		p.must(p.open(p.config("vault", nil)))
		p.host(nil, func(h *repository.Host) {
			if n, err := h.Enter(t.Context()); n != 1 || err != nil {
				t.Errorf("%d records were entered, %v", n, err)
			}
		})
	}
	h, err := repository.TakeOver(t.Context(), p.config("state2", nil), p.recipients, p.master, func(*repository.Reader) error { return nil })
	p.must(err)
	p.must(h.Close())
	p.drill(2)
	p.must(p.open(p.config("vault", nil)))
	h, err = repository.OpenHost(t.Context(), p.config("state2", nil))
	p.must(err)
	if n, err := h.Enter(t.Context()); n != 1 || err != nil {
		t.Errorf("the new writer entered %d records, %v", n, err)
	}
	p.must(h.Close())
	all := repository.Drills(p.reader().Chain, nil)
	for i, d := range all {
		if text, err := p.reader().Document(t.Context(), *d.Entry); err != nil || string(text) != fmt.Sprint("report ", i) {
			t.Errorf("drill %d: %q, %v", i, text, err)
		}
	}
	if len(all) != 3 {
		t.Errorf("%d drills are entered", len(all))
	}
	healed, err := repository.OpenHost(t.Context(), p.config("state2", nil))
	p.must(err)
	if _, err := healed.Prune(t.Context(), nil); err != nil {
		t.Error(err)
	}
	p.must(healed.Close())
	for _, name := range []string{"disk", "usb"} {
		if _, err := os.Stat(p.path(name, "hosts", "drill-vault", "journal", "writer", "000000000003")); err != nil {
			t.Errorf("retention removed what a drill host recorded: %v", err)
		}
	}
}

// thief is somebody who has the key of the drill host.
type thief struct {
	*pair
	below  target.Target
	signer note.Signer
	chain  *journal.Chain
}

func (p *pair) thief() *thief {
	p.t.Helper()
	b, err := os.ReadFile(p.path("vault", "drill-host.json"))
	p.must(err)
	s, err := crypto.ParseDrillSecrets(b)
	p.must(err)
	to, err := local.Open(p.path("disk"))
	p.must(err)
	p.t.Cleanup(func() { _ = to.Close() }) // nothing depends on it any more
	x := &thief{pair: p, below: target.Below(to, "hosts/drill-vault/")}
	x.signer, err = crypto.NewSigner(s.Repository, s.Role, s.SigningSeed)
	p.must(err)
	x.chain, err = journal.DrillChain(s.Repository, s.RootKey, p.reader().Chain.DrillHost(s.Role).Certificate)
	p.must(err)
	p.must(journal.Extend(p.t.Context(), x.below, x.chain))
	return x
}

// add records something behind what there is.
func (x *thief) add(r journal.Record) {
	x.t.Helper()
	r.Format, r.Repository, r.Seq, r.Prev, r.Time, r.By = 1, x.chain.Repository(), x.chain.Len()+1, x.chain.Head(), time.Now().UTC(), "thief@vault"
	line, err := json.Marshal(r)
	x.must(err)
	raw, err := note.Sign(&note.Note{Text: string(line) + "\n"}, x.signer)
	x.must(err)
	x.must(x.chain.Append(raw))
	x.must(target.Store(x.t.Context(), x.below, journal.Name(r.Seq), raw))
}

// entered is what the backup host enters, and why not all.
func (p *pair) entered() (n int, why error) {
	p.t.Helper()
	p.host(nil, func(h *repository.Host) {
		var err error
		n, err = h.Enter(p.t.Context())
		p.must(err)
		why = h.Unentered["drill-vault"]
		p.must(h.Replicate(p.t.Context()))
	})
	return n, why
}

// TestEnterFlood lets somebody with a drill host's key record without end: what is entered in a day is bounded, and told.
func TestEnterFlood(t *testing.T) {
	p := newPair(t)
	p.drill(0)
	p.must(p.open(p.config("vault", nil)))
	x := p.thief()
	for range 400 {
		x.add(journal.Record{Type: journal.Restore, Reason: strings.Repeat("<", 4800), Restore: &journal.RestoreBody{Source: "0123456789abcdef", Result: "done"}})
	}
	n, why := p.entered()
	if !errors.Is(why, repository.ErrFlood) || !strings.Contains(why.Error(), "keys revoke drill-vault") {
		t.Errorf("%d records were entered: %v", n, why)
	}
	var size int64
	for _, e := range p.reader().Chain.Entries() {
		size += int64(len(e.Raw))
	}
	if size < 15<<20 || size > 17<<20 {
		t.Errorf("the journal has %d bytes", size)
	}
	if again, why := p.entered(); again > 0 || !errors.Is(why, repository.ErrFlood) {
		t.Errorf("%d more were entered on the same day: %v", again, why)
	}
}

// TestEnterSpoilt lets somebody with a drill host's key record drills whose reports cannot be read, or were recorded before: they are not entered.
func TestEnterSpoilt(t *testing.T) {
	for what, spoil := range map[string]func(x *thief, first journal.Entry) journal.Record{
		"no age file": func(x *thief, _ journal.Entry) journal.Record {
			o, err := chunkstore.StoreDigest(x.t.Context(), x.below, "documents/", []byte("garbage"))
			x.must(err)
			return journal.Record{Type: journal.Drill, Objects: []target.Object{o}, Drill: &journal.DrillBody{Report: strings.Repeat("1", 64), Result: "pass", Began: time.Now().UTC()}}
		},
		"a report again": func(_ *thief, first journal.Entry) journal.Record {
			return journal.Record{Type: journal.Drill, Objects: first.Objects, Drill: first.Drill}
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPair(t)
			p.drill(0)
			p.must(p.open(p.config("vault", nil)))
			if n, why := p.entered(); n != 1 || why != nil {
				t.Fatalf("%d records were entered: %v", n, why)
			}
			x := p.thief()
			x.t = t
			x.add(spoil(x, x.chain.Entries()[0]))
			if n, why := p.entered(); n > 0 || !errors.Is(why, crypto.ErrDamaged) || strings.Contains(why.Error(), "garbage") {
				t.Errorf("%d records were entered: %v", n, why)
			}
		})
	}
}
