package sftp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target/sftp"
)

// hooked is a body that does something once it is read from an offset on.
type hooked struct {
	io.ReaderAt
	at   int64
	once *sync.Once
	do   func()
}

func (h hooked) ReadAt(p []byte, off int64) (int, error) {
	if off >= h.at {
		h.once.Do(h.do)
	}
	return h.ReaderAt.ReadAt(p, off)
}

func hook(b []byte, at int64, do func()) *io.SectionReader {
	return io.NewSectionReader(hooked{bytes.NewReader(b), at, new(sync.Once), do}, 0, int64(len(b)))
}

// TestSessionsKilled kills the server's sessions in the middle of a Put and of a Get; both go on over new ones.
func TestSessionsKilled(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	tg := create(t, at(d, "target"))
	want := content(1, 16<<20)
	if err := tg.Put(t.Context(), "a/b", hook(want, 8<<20, d.KillSessions)); err != nil {
		t.Fatal(err)
	}
	wantObject(t, tg, "a/b", want)

	r, err := tg.Get(t.Context(), "a/b", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, len(want))
	for off := 0; off < len(got); off += 4 << 20 {
		if _, err := io.ReadFull(r, got[off:off+4<<20]); err != nil {
			t.Fatal(err)
		}
		d.KillSessions()
	}
	if !bytes.Equal(got, want) {
		t.Error("a Get over several sessions yields other bytes")
	}
	d.KillSessions()
	wantNames(t, tg, "a", "a/b")
	d.KillSessions()
	if err := tg.Delete(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
}

// TestServerKilled takes the server away in the middle of a Put and of a Get: nothing half may be seen when it is back.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	tg := create(t, at(d, "target"))
	want := content(1, 16<<20)
	put(t, tg, "z")
	err := tg.Put(t.Context(), "a/b", hook(want, 8<<20, d.Kill))
	if err == nil || !strings.Contains(err.Error(), "nothing listens there") || !strings.Contains(err.Error(), "6 attempts") {
		t.Errorf("Put: %v", err)
	}
	if _, err := read(t.Context(), tg, "z"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get: %v", err)
	}
	for info, err := range tg.List(t.Context(), "") {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("List: %v, %v", info, err)
		}
	}
	d.Start()
	wantNames(t, tg, "", "z")
	if err := tg.Put(t.Context(), "a/b", section(want)); err != nil {
		t.Fatal(err)
	}
	r, err := tg.Get(t.Context(), "a/b", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d.Kill()
	if got, err := io.ReadAll(r); err == nil || !bytes.HasPrefix(want, got) {
		t.Errorf("a Get without a server yields %d bytes, %v", len(got), err)
	}
	d.Start()
	if err := tg.Clean(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := leftovers(t, filepath.Join(d.Home, "target")); n != 0 {
		t.Errorf("%d unfinished objects are left after Clean", n)
	}
	wantObject(t, tg, "a/b", want)
	wantNames(t, tg, "", "a/b", "z")
}

// TestLostAnswers ends the connection of a Put after each number of bytes that the server says during one, while the
// server itself does all that it is asked for.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	const step = 24 // less than any answer
	d := testenv.StartSSHD(t)
	want := content(1, 100_000)
	p, cfg := through(t, d, "whole")
	tg := create(t, cfg)
	put(t, tg, "first") // and with it the directory of unfinished objects
	before := p.down.Load()
	if err := tg.Put(t.Context(), "a/b", section(want)); err != nil {
		t.Fatal(err)
	}
	total := p.down.Load() - before
	if total < 10*step {
		t.Fatalf("a Put takes %d bytes of answers", total)
	}
	var wg sync.WaitGroup
	turn := make(chan struct{}, 16) // they wait, most of the time
	for cut := int64(0); cut < total+step; cut += step {
		turn <- struct{}{}
		wg.Go(func() {
			t.Run(fmt.Sprint(cut), func(t *testing.T) { loseAfter(t, d, cut) })
			<-turn
		})
	}
	wg.Wait()
}

func loseAfter(t *testing.T, d *testenv.SSHD, cut int64) {
	want := content(1, 100_000)
	p, cfg := through(t, d, fmt.Sprintf("cut-%d", cut))
	tg := create(t, cfg)
	put(t, tg, "first")
	p.lose(cut, false)
	if err := tg.Put(t.Context(), "a/b", section(want)); err != nil {
		t.Errorf("Put: %v", err)
	}
	wantObject(t, tg, "a/b", want)
	wantNames(t, tg, "", "a/b", "first")
	p.lose(cut, false)
	if err := tg.Put(t.Context(), "a/b", section(nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of a taken name: %v", err)
	}
	p.lose(cut, false)
	if err := tg.Replace(t.Context(), "a/b", section(want[1:])); err != nil {
		t.Errorf("Replace: %v", err)
	}
	wantObject(t, tg, "a/b", want[1:])
	p.lose(cut, false)
	if err := tg.Delete(t.Context(), "a/b"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	wantNames(t, tg, "", "first")
}

// TestSilence has the host fall silent: a connection without answers is given up, and what was under way begins anew.
func TestSilence(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	p, cfg := through(t, d, "target")
	tg := create(t, sftp.WithBeat(cfg, 300*time.Millisecond))
	want := content(1, 8<<20)
	put(t, tg, "first")
	if err := tg.Put(t.Context(), "a/b", hook(want, 4<<20, func() { p.lose(0, true) })); err != nil {
		t.Fatal(err)
	}
	r, err := tg.Get(t.Context(), "a/b", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p.lose(3<<20, true)
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get: %d bytes, %v", len(got), err)
	}
	p.lose(0, true)
	wantNames(t, tg, "", "a/b", "first")
}

// TestSilenceAndContext has the host fall silent for ever: every method returns when its context is done.
func TestSilenceAndContext(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	p, cfg := through(t, d, "target")
	tg := create(t, cfg)
	put(t, tg, "first")
	big := content(1, 8<<20)
	for method, do := range map[string]func(ctx context.Context) error{
		"Put":    func(ctx context.Context) error { return tg.Put(ctx, "a/b", section(big)) },
		"Get":    func(ctx context.Context) error { _, err := read(ctx, tg, "first"); return err },
		"Delete": func(ctx context.Context) error { return tg.Delete(ctx, "first") },
		"Clean":  func(ctx context.Context) error { return tg.Clean(ctx, time.Now()) },
		"List": func(ctx context.Context) error {
			for _, err := range tg.List(ctx, "") {
				return err
			}
			return nil
		},
		"Open": func(ctx context.Context) error { _, err := sftp.Open(ctx, silent(t, cfg)); return err },
	} {
		p.lose(0, true)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", method, err)
		}
		cancel()
	}
}

// silent is the configuration for a host that takes connections and says nothing.
func silent(t *testing.T, cfg sftp.Config) sftp.Config {
	t.Helper()
	l := listen(t)
	cfg.Port = portOf(l)
	return cfg
}

// TestRootRemoved takes the directory away: nothing may look like an empty target or an absent object.
func TestRootRemoved(t *testing.T) {
	d := testenv.StartSSHD(t)
	tg := create(t, at(d, "target"))
	put(t, tg, "a/b")
	if err := os.RemoveAll(filepath.Join(d.Home, "target")); err != nil {
		t.Fatal(err)
	}
	_, getErr := read(t.Context(), tg, "a/b")
	errs := map[string]error{
		"Put": tg.Put(t.Context(), "a/b", section(nil)), "Get": getErr, "Delete": tg.Delete(t.Context(), "a/b"),
		"Clean": tg.Clean(t.Context(), time.Now()),
	}
	for _, prefix := range []string{"", "a/"} {
		for _, err := range tg.List(t.Context(), prefix) {
			errs["List("+prefix+")"] = err
		}
	}
	if len(errs) != 6 {
		t.Errorf("a List says nothing: %v", errs)
	}
	for method, err := range errs {
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "was removed") {
			t.Errorf("%s in a removed directory: %v", method, err)
		}
	}
}

// TestHostileDirectory plants links and a pipe, as somebody with access to the host could.
func TestHostileDirectory(t *testing.T) {
	d := testenv.StartSSHD(t)
	tg := create(t, at(d, "target"))
	put(t, tg, "real/object")
	dir := filepath.Join(d.Home, "target")
	for link, to := range map[string]string{"file": d.Key, "dir": d.Base, "in": "real", "loop": "loop", "dangling": "/nowhere/at-all"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "Upper Case"), "")
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.Give(filepath.Join(dir, "empty"))
	for _, name := range []string{"file", "dir/key", "in/object", "in/new", "loop", "loop/new", "dangling"} {
		if err := tg.Put(t.Context(), name, section(nil)); err == nil {
			t.Errorf("Put(%s) succeeded", name)
		}
		if got, err := read(t.Context(), tg, name); err == nil || !strings.Contains(err.Error(), "symbolic links are not followed") {
			t.Errorf("Get(%s): %q, %v", name, got, err)
		}
		if err := tg.Delete(t.Context(), name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Delete(%s): %v", name, err)
		}
	}
	if err := tg.Put(t.Context(), "real/object/below", section(nil)); err == nil {
		t.Error("Put below an object succeeded")
	}
	wantNames(t, tg, "", "real/object")
}
