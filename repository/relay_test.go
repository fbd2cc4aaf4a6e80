package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"

	"filippo.io/age"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// gate is a target that takes nothing before it is opened.
type gate struct {
	target.Target
	open chan struct{}
}

func (g gate) Put(ctx context.Context, name string, body *io.SectionReader) error {
	select {
	case <-g.open:
		return g.Target.Put(ctx, name, body)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestRelay puts objects on a first copy while the others are quick, shut until the end, without a share of the spool, and broken. None holds up
// another, all but the broken one have everything in the end, and the spool is free.
func TestRelay(t *testing.T) {
	shut := make(chan struct{})
	broken := faulty.New(created(t))
	broken.Random(0, faulty.Chance{Method: faulty.Put, P: 1, Draw: faulty.Same(faulty.Fail(syscall.EIO))})
	copies := []*Copy{
		{Name: "first", Target: created(t)}, {Name: "quick", Target: created(t)}, {Name: "shut", Target: gate{created(t), shut}},
		{Name: "unspooled", Target: created(t)}, {Name: "broken", Target: broken}, {Name: "away", Err: errors.New("it is away")},
	}
	h := &Host{Config: Config{StateDir: t.TempDir(), Copies: copies}}
	var mu sync.Mutex
	told := map[string][2]int64{}
	quick := make(chan struct{})
	const n, size = 20, 100_000
	h.Progress = func(name string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if told[name] = [2]int64{done, total}; name == "quick" && done == n*size {
			close(quick)
		}
	}
	r, stop := h.relay(t.Context(), copies[0])
	r.pipes[2].room = 0
	var names []string
	bodies := map[string][]byte{}
	for range n {
		b := make([]byte, size)
		_, _ = rand.Read(b) // never fails
		sum := sha256.Sum256(b)
		name := chunkstore.PackName(hex.EncodeToString(sum[:]))
		names, bodies[name] = append(names, name), b
		if err := r.Put(t.Context(), name, io.NewSectionReader(bytes.NewReader(b), 0, size)); err != nil {
			t.Fatal(err)
		}
	}
	<-quick // while another takes nothing
	close(shut)
	stop()
	for _, c := range copies[:4] {
		for _, name := range names {
			if b, err := target.Read(t.Context(), c.Target, name, size); err != nil || !bytes.Equal(b, bodies[name]) {
				t.Fatalf("%s: %v", c.Name, err)
			}
		}
	}
	for _, p := range r.pipes {
		if held := p.held.Load(); held != 0 {
			t.Errorf("%s still holds %d bytes of the spool", p.to.Name, held)
		}
	}
	want := map[string][2]int64{"quick": {n * size, n * size}, "shut": {n * size, n * size}, "unspooled": {n * size, n * size}, "broken": {0, n * size}}
	if got := fmt.Sprint(told); got != fmt.Sprint(want) {
		t.Errorf("progress %s, want %v", got, want)
	}
}

// TestRelayFirst breaks the first copy: that is noticed, and nothing else is taken for it.
func TestRelayFirst(t *testing.T) {
	for name, fault := range map[string]faulty.Fault{"failed": faulty.Fail(syscall.EIO), "lost": faulty.Lose(), "short": faulty.Short(3)} {
		first := faulty.New(created(t))
		h := &Host{Config: Config{StateDir: t.TempDir(), Copies: []*Copy{{Name: "first", Target: first}}}}
		r, stop := h.relay(t.Context(), h.Copies[0])
		put := func(b string) error {
			_, err := chunkstore.StoreDigest(t.Context(), r, "index/", []byte(b))
			return err
		}
		if err := errors.Join(put("once"), put("once"), put("twice")); err != nil || r.lost.Load() {
			t.Errorf("a sound copy: %v", err)
		}
		first.Queue(faulty.Put, fault)
		if err := put("a fault"); err == nil || !r.lost.Load() {
			t.Errorf("%s: %v", name, err)
		}
		stop()
	}
}

// TestFinishUnsigned has nothing to finish: what must stand before the record had failed.
func TestFinishUnsigned(t *testing.T) {
	master, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := crypto.ParseRecipients([]string{master.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Init(t.Context(), Config{StateDir: t.TempDir(), Copies: []*Copy{{Name: "disk", Target: created(t)}}, Now: clock.System, By: "test@host"}, to)
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := h.finish(t.Context(), &Done{}); signed || err != nil {
		t.Errorf("signed: %t, %v", signed, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func created(t *testing.T) target.Target {
	t.Helper()
	c, err := local.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing depends on it any more
	return c
}
