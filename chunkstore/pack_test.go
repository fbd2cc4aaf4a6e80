package chunkstore

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"lifeboat/crypto"
	"lifeboat/target"
	"lifeboat/target/local"
)

// TestRepack moves some frames of packs into a new one, from which they open, and takes nothing from a pack that is damaged.
func TestRepack(t *testing.T) {
	tg, err := local.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Close()
	var packs []Pack
	var all []stored
	for range 3 {
		w, err := NewWriter(t.Context(), tg, ring(t).host, crypto.Fast)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			all = append(all, add(t, w, Sealed, noise(uint64(len(all)), frameTarget-i)))
		}
		packs = append(packs, finish(t, w)...)
	}
	wanted := map[crypto.ID]bool{all[1].loc.Frame: true, all[6].loc.Frame: true, all[10].loc.Frame: true}
	live := func(id crypto.ID) bool { return wanted[id] }
	var r Repack
	if p, err := r.Store(t.Context(), tg); err != nil || p.Digest != "" {
		t.Errorf("nothing was stored as %+v, %v", p, err)
	}
	other := packs[0]
	other.Frames = other.Frames[:3]
	for _, bad := range []Pack{other, {noDigest(2), packs[0].Size, packs[0].Frames}, spoilt(t, tg, packs[0])} {
		if err := r.Add(t.Context(), tg, bad, live); !Damaged(err) {
			t.Errorf("a pack that is damaged: %v", err)
		}
	}
	for range 2 { // the second time the pack stands already
		for _, p := range packs {
			if err := r.Add(t.Context(), tg, p, live); err != nil {
				t.Fatal(err)
			}
		}
		made, err := r.Store(t.Context(), tg)
		if err != nil || len(made.Frames) != 3 || r.Full() {
			t.Fatalf("made %+v, %v", made, err)
		}
		got, err := ReadPack(t.Context(), tg, made.Object())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(made) {
			t.Errorf("its footer says %+v, %v", got, err)
		}
		frames := NewReader(tg, NewIndex([]Pack{made}), ring(t).epoch)
		for _, s := range all {
			b, err := frames.Chunk(t.Context(), s.loc, nil)
			if live(s.loc.Frame) && !bytes.Equal(b, s.data) || !live(s.loc.Frame) && !errors.Is(err, ErrUnknownFrame) {
				t.Errorf("frame %s: %v", s.loc.Frame, err)
			}
		}
	}
}

// noDigest is the digest of no pack.
func noDigest(n int) string { return fmt.Sprintf("%064x", n) }

// spoilt stores a pack in whose frames a bit is flipped.
func spoilt(t *testing.T, tg target.Target, p Pack) Pack {
	t.Helper()
	b, err := target.Read(t.Context(), tg, PackName(p.Digest), maxPack)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	p.Digest = noDigest(3)
	if err := target.Store(t.Context(), tg, PackName(p.Digest), b); err != nil {
		t.Fatal(err)
	}
	return p
}
