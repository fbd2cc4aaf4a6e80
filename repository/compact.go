package repository

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

// classes are frames and the class of each.
type classes = map[crypto.ID]chunkstore.Class

// The live frames of a pack are moved where they are less than half of it: what is moved is then less than what becomes
// free, and what stands is never more than about twice what is needed. One run reads at most the larger of the two
// limits, so that a backup that waits for it does not wait long; the next run goes on.
const (
	halfEmpty    = 0.5
	compactBytes = 1 << 30
	compactShare = 50 // of the repository, as a divisor
)

// sifted is what the index holds, by what is to become of it.
type sifted struct {
	gone  map[string]bool // digests of packs to condemn
	bytes int64           // of them
	half  []halfPack
	limit int64 // of the bytes to read
}

// halfPack is a pack of which less than a half is live.
type halfPack struct {
	chunkstore.Pack
	live  int64 // bytes
	class chunkstore.Class
}

func (p halfPack) share() float64 { return float64(p.live) / float64(p.Size) }

// sift looks at every pack of the index.
func (h *Host) sift(ctx context.Context, first *Copy, live classes) (*sifted, error) {
	s := &sifted{gone: map[string]bool{}}
	var total int64
	for _, d := range h.Chain().Indexes() {
		err := chunkstore.EachPack(ctx, first.Target, d, func(p chunkstore.Pack) error {
			half := halfPack{Pack: p}
			for _, f := range p.Frames {
				if class, ok := live[f.ID]; ok {
					half.live += int64(f.Len)
					half.class = class
				}
			}
			total += p.Size
			switch {
			case half.live == 0:
				s.gone[p.Digest] = true
				s.bytes += p.Size
			case half.share() < halfEmpty:
				s.half = append(s.half, half)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	s.limit = max(compactBytes, total/compactShare)
	return s, nil
}

// choose keeps the emptiest packs, of up to limit bytes together, and puts those of one class next to each other: frames of one
// class share a pack.
func choose(half []halfPack, limit int64) []halfPack {
	slices.SortStableFunc(half, func(a, b halfPack) int { return cmp.Compare(a.share(), b.share()) })
	for i, p := range half {
		if limit -= p.Size; limit < 0 {
			half = half[:i]
			break
		}
	}
	slices.SortStableFunc(half, func(a, b halfPack) int { return cmp.Compare(a.class, b.class) })
	return half
}

// compact moves the live frames of half-empty packs into new ones and adds the old ones to what is gone. A damaged pack stays
// as it is. An error ends it; what was moved until then is moved.
func (h *Host) compact(ctx context.Context, first *Copy, live classes, s *sifted, c *Collected) (made []chunkstore.Pack, err error) {
	var pack chunkstore.Repack
	var from []halfPack
	store := func() error {
		p, err := pack.Store(ctx, first.Target)
		if err != nil || len(from) == 0 {
			return err
		}
		made = append(made, p)
		for _, old := range from {
			s.gone[old.Digest] = true
			s.bytes += old.Size
		}
		c.Compacted += len(from)
		c.Moved += p.Size
		from = nil
		return nil
	}
	isLive := func(id crypto.ID) bool { _, ok := live[id]; return ok }
	for _, p := range choose(s.half, s.limit) {
		if len(from) > 0 && (pack.Full() || from[0].class != p.class) {
			if err := store(); err != nil {
				return made, fmt.Errorf("compact: target %s: %w", first.Name, err)
			}
		}
		err := pack.Add(ctx, first.Target, p.Pack, isLive)
		switch {
		case ctx.Err() != nil:
			return made, ctx.Err()
		case chunkstore.Damaged(err):
			c.Damaged = append(c.Damaged, chunkstore.PackName(p.Digest))
		case err != nil:
			return made, fmt.Errorf("compact: target %s: %w", first.Name, err)
		default:
			from = append(from, p)
		}
	}
	if err := store(); err != nil {
		return made, fmt.Errorf("compact: target %s: %w", first.Name, err)
	}
	return made, nil
}
