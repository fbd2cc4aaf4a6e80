package chunkstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"lifeboat/crypto"
	"lifeboat/target"
)

// openPack is a pack in the making.
type openPack struct {
	Pack
	body []byte
	sum  hash.Hash
}

// openIn begins a pack in the memory of body.
func openIn(body []byte) *openPack {
	o := &openPack{body: append(body[:0], packMagic...), sum: sha256.New()}
	o.sum.Write(o.body)
	return o
}

func (o *openPack) add(id crypto.ID, sealed []byte) {
	o.Frames = append(o.Frames, Frame{ID: id, Off: int64(len(o.body)), Len: len(sealed)})
	o.body = append(o.body, sealed...)
	o.sum.Write(sealed)
}

// end adds the footer, which makes the pack complete.
func (o *openPack) end() {
	end := footer(o.Frames)
	o.body = append(o.body, end...)
	o.sum.Write(end)
	o.Digest, o.Size = hex.EncodeToString(o.sum.Sum(nil)), int64(len(o.body))
}

// Repack gathers frames that stand in packs already, sealed as they are, into one new pack at a time: it needs no key. The
// zero Repack is empty.
type Repack struct {
	open      *openPack
	old, made []byte // memory of the pack that is read, and of the one that is made
}

// Add reads a pack of t, with all frames that the index lists, and takes over those that live. Where its bytes are not those
// of its name, or its footer does not list these frames, the error wraps crypto.ErrDamaged and nothing is taken.
func (r *Repack) Add(ctx context.Context, t target.Target, p Pack, live func(crypto.ID) bool) error {
	name := PackName(p.Digest)
	r.old = slices.Grow(r.old[:0], int(p.Size))[:p.Size]
	if err := target.ReadRange(ctx, t, name, 0, r.old); err != nil {
		return err
	}
	if sum := sha256.Sum256(r.old); hex.EncodeToString(sum[:]) != p.Digest {
		return fmt.Errorf("read %s: its SHA-256 is not its name: %w", name, crypto.ErrDamaged)
	}
	is, err := parseFooter(name, p.Size, func(off int64, buf []byte) error {
		copy(buf, r.old[off:])
		return nil
	})
	if err == nil && !slices.Equal(is.Frames, p.Frames) {
		err = fmt.Errorf("%s: the index lists other frames than its footer: %w", name, crypto.ErrDamaged)
	}
	if err != nil {
		return err
	}
	if r.made == nil {
		r.made = make([]byte, 0, packTarget+2*frameTarget)
	}
	if r.open == nil {
		r.open = openIn(r.made)
	}
	for _, f := range p.Frames {
		if live(f.ID) {
			r.open.add(f.ID, r.old[f.Off:f.Off+int64(f.Len)])
		}
	}
	return nil
}

// Full reports whether the pack has the size that packs should have.
func (r *Repack) Full() bool { return r.open != nil && len(r.open.body) >= packTarget }

// Store stores the pack on t, durably, and begins another. Nothing is stored, and the Pack is empty, where no frame was taken.
func (r *Repack) Store(ctx context.Context, t target.Target) (Pack, error) {
	o := r.open
	if r.open = nil; o == nil {
		return Pack{}, nil
	}
	r.made = o.body
	if len(o.Frames) == 0 {
		return Pack{}, nil
	}
	o.end()
	if err := target.Store(ctx, t, PackName(o.Digest), o.body); err != nil {
		return Pack{}, fmt.Errorf("store packs: %w", err)
	}
	return o.Pack, nil
}
