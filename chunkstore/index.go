package chunkstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"lifeboat/crypto"
	"lifeboat/target"
)

// Pack is one pack and the frames in it.
type Pack struct {
	Digest string // SHA-256, 64 hex
	Size   int64  // bytes
	Frames []Frame
}

// Frame is the place of a frame in its pack.
type Frame struct {
	ID  crypto.ID
	Off int64 // bytes from the pack's beginning
	Len int   // bytes, sealed
}

// Object is the pack as a record names it.
func (p Pack) Object() target.Object { return target.Object{Name: PackName(p.Digest), Size: p.Size} }

// Index answers where frames are. It holds about 32 bytes per frame: 32 MB for a terabyte.
type Index struct {
	packs  []Pack // without frames
	frames []place
}

type place struct {
	id       crypto.ID
	pack     uint32
	off, len uint32
}

// Place is where a frame can be fetched.
type Place struct {
	Pack   string // object name
	Digest string
	Off    int64
	Len    int
}

// NewIndex indexes packs.
func NewIndex(packs []Pack) *Index {
	x := &Index{}
	for _, p := range packs {
		x.add(p)
	}
	x.sort()
	return x
}

func (x *Index) add(p Pack) {
	for _, f := range p.Frames {
		x.frames = append(x.frames, place{f.ID, uint32(len(x.packs)), uint32(f.Off), uint32(f.Len)})
	}
	p.Frames = nil
	x.packs = append(x.packs, p)
}

func (x *Index) sort() {
	slices.SortStableFunc(x.frames, func(a, b place) int { return bytes.Compare(a.id[:], b.id[:]) })
}

// LoadIndex reads and verifies the index objects with the given digests.
func LoadIndex(ctx context.Context, t target.Target, digests []string) (*Index, error) {
	x := &Index{}
	for _, d := range digests {
		err := EachPack(ctx, t, d, func(p Pack) error {
			x.add(p)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	x.sort()
	return x, nil
}

// EachPack reads and verifies one index object and calls each for one pack after another: what came before an error must not
// be used. An error of each ends it.
func EachPack(ctx context.Context, t target.Target, digest string, each func(Pack) error) error {
	b, err := ReadDigest(ctx, t, IndexName(digest), maxIndexBytes)
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	if err := decodeIndex(b, each); err != nil {
		return fmt.Errorf("read index %s: %w", digest, err)
	}
	return nil
}

// ReadIndex reads and verifies one index object.
func ReadIndex(ctx context.Context, t target.Target, digest string) (packs []Pack, err error) {
	err = EachPack(ctx, t, digest, func(p Pack) error {
		packs = append(packs, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return packs, nil
}

// Lookup returns every place of a frame; none means that the repository does not hold it.
func (x *Index) Lookup(id crypto.ID) []Place {
	i, ok := slices.BinarySearchFunc(x.frames, id, func(p place, id crypto.ID) int { return bytes.Compare(p.id[:], id[:]) })
	var out []Place
	for ; ok && i < len(x.frames) && x.frames[i].id == id; i++ {
		p := x.frames[i]
		out = append(out, Place{PackName(x.packs[p.pack].Digest), x.packs[p.pack].Digest, int64(p.off), int(p.len)})
	}
	return out
}

// Packs returns all packs, without their frames.
func (x *Index) Packs() []Pack { return x.packs }
