package journal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
)

func (h *house) checkpoint(c *Chain, n uint64) []byte {
	h.t.Helper()
	signed, err := c.Checkpoint(n, h.signer)
	if err != nil {
		h.t.Fatal(err)
	}
	return signed
}

func raws(c *Chain) (out [][]byte) {
	for _, e := range c.Entries() {
		out = append(out, e.Raw)
	}
	return out
}

// TestCheckpoint compares journals with checkpoints that were kept of them.
func TestCheckpoint(t *testing.T) {
	h := newHouse(t)
	c := h.chain(40)
	for _, n := range []uint64{1, 2, 31, 32, 33, 40} {
		if p, err := VerifyCheckpoint(c, h.checkpoint(c, n)); err != nil || p.Size != n {
			t.Errorf("of the first %d: %+v, %v", n, p, err)
		}
	}
	kept := h.checkpoint(c, 33)
	truncated, err := ParseChain(raws(c)[:32])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyCheckpoint(truncated, kept); !errors.Is(err, ErrRolledBack) || !errors.Is(err, ErrBroken) {
		t.Errorf("truncated: %v", err)
	}
	rolled := truncated.Clone() // and gone on with other records, longer than before
	for i := range 20 {
		if err := rolled.Append(h.raw(rolled, snapshotRecord(100+i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := VerifyCheckpoint(rolled, kept); !errors.Is(err, ErrForked) {
		t.Errorf("forked: %v", err)
	}
	if _, err := VerifyCheckpoint(rolled, h.checkpoint(c, 32)); err != nil {
		t.Errorf("one from before the fork: %v", err)
	}
	if _, err := c.Checkpoint(41, h.signer); err == nil {
		t.Error("signed what there is not")
	}
	if _, err := c.Checkpoint(0, h.signer); err == nil {
		t.Error("signed nothing")
	}
}

// TestCheckpointKeys knows the keys of all writers, and no other.
func TestCheckpointKeys(t *testing.T) {
	h := newHouse(t)
	c := h.chain(5)
	first := h.checkpoint(c, 5)
	before := c.Clone()
	h.host.NewSigningSeed()
	former := h.signer
	h.signer = h.sign(crypto.Writer, h.host.SigningSeed)
	if err := c.Append(h.raw(c, Record{Type: Takeover, Takeover: &TakeoverBody{Certificate: h.certificate(crypto.Writer, h.host.SigningSeed, 6)}}, nil)); err != nil {
		t.Fatal(err)
	}
	second := h.checkpoint(c, 6)
	for _, signed := range [][]byte{first, second} {
		if _, err := VerifyCheckpoint(c, signed); err != nil {
			t.Error(err)
		}
	}
	if len(c.Keys()) != 2 || len(before.Keys()) != 1 {
		t.Errorf("%d keys, %d before", len(c.Keys()), len(before.Keys()))
	}
	if _, err := VerifyCheckpoint(before, second); !errors.Is(err, ErrRolledBack) {
		t.Errorf("rolled back to before a take-over: %v", err)
	}
	if _, err := VerifyCheckpoint(before, h.checkpoint(c, 5)); !errors.Is(err, ErrUnsigned) {
		t.Errorf("by a key that is not known yet: %v", err)
	}
	// A witness may sign as well.
	sk, _, err := note.GenerateKey(nil, "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := note.NewSigner(sk)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.checkpoint(5)
	if err != nil {
		t.Fatal(err)
	}
	both, err := note.Sign(&note.Note{Text: text}, former, witness)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyCheckpoint(c, both); err != nil {
		t.Errorf("with a witness: %v", err)
	}
	alone, err := note.Sign(&note.Note{Text: text}, witness)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyCheckpoint(c, alone); !errors.Is(err, ErrUnsigned) {
		t.Errorf("by a witness alone: %v", err)
	}
	if _, err := VerifyCheckpoint(newHouse(t).chain(9), first); err == nil || errors.Is(err, ErrBroken) {
		t.Errorf("of another repository: %v", err)
	}
}

// TestProof proves each record of journals of several lengths, and nothing else.
func TestProof(t *testing.T) {
	h := newHouse(t)
	c := h.chain(21)
	for _, n := range []uint64{1, 2, 7, 8, 21} {
		signed := h.checkpoint(c, n)
		for seq := uint64(1); seq <= n; seq++ {
			proof, err := c.Prove(seq, signed)
			if err != nil {
				t.Fatal(err)
			}
			raw := c.Entries()[seq-1].Raw
			if got, p, err := VerifyProof(proof, raw, c.Keys()...); err != nil || got != seq || p.Size != n {
				t.Errorf("record %d of %d: %d, %+v, %v", seq, n, got, p, err)
			}
			extra := bytes.Replace(proof, []byte("index "), []byte("extra aGVsbG8=\nindex "), 1)
			if _, _, err := VerifyProof(extra, raw, c.Keys()...); err != nil {
				t.Errorf("with something extra: %v", err)
			}
			other := c.Entries()[seq%21].Raw
			if _, _, err := VerifyProof(proof, other, c.Keys()...); !errors.Is(err, ErrBroken) {
				t.Errorf("another record: %v", err)
			}
			moved := bytes.Replace(proof, fmt.Appendf(nil, "index %d\n", seq-1), fmt.Appendf(nil, "index %d\n", seq), 1)
			if _, _, err := VerifyProof(moved, raw, c.Keys()...); !errors.Is(err, ErrBroken) {
				t.Errorf("under another number: %v", err)
			}
			if _, _, err := VerifyProof(proof, raw); !errors.Is(err, ErrUnsigned) {
				t.Errorf("without a key: %v", err)
			}
		}
		if _, err := c.Prove(n+1, signed); err == nil {
			t.Errorf("proved record %d of %d", n+1, n)
		}
	}
}

// FuzzProof reads proofs and checkpoints that anybody wrote: none that was not made here is believed.
func FuzzProof(f *testing.F) {
	h := newHouse(f)
	c := h.chain(6)
	signed := h.checkpoint(c, 6)
	proof, err := c.Prove(3, signed)
	if err != nil {
		f.Fatal(err)
	}
	raw := c.Entries()[2].Raw
	f.Add(proof)
	f.Add(signed)
	f.Add([]byte(strings.ReplaceAll(string(proof), "\n", "\n\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if seq, p, err := VerifyProof(b, raw, c.Keys()...); err == nil && (seq != 3 || p.Size != 6) {
			t.Errorf("record %d of %d", seq, p.Size)
		}
		if p, err := VerifyCheckpoint(c, b); err == nil && p.Size != 6 {
			t.Errorf("a checkpoint of %d", p.Size)
		}
	})
}
