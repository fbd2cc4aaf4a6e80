package chunkstore

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"lifeboat/crypto"
	"lifeboat/target"
)

const (
	indexMagic    = "lifeboat index 1"
	maxIndex      = 1 << 30
	maxIndexBytes = 256 << 20 // as stored
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

// EncodeIndex makes the index object of packs.
func EncodeIndex(packs []Pack) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(indexMagic + "\n")
	for _, p := range packs {
		fmt.Fprintf(&b, "pack %s %d\n", p.Digest, p.Size)
		for _, f := range p.Frames {
			fmt.Fprintf(&b, "%s %d %d\n", f.ID, f.Off, f.Len)
		}
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	return enc.EncodeAll(b.Bytes(), nil), nil
}

// DecodeIndex is the inverse of EncodeIndex for bytes from outside.
func DecodeIndex(stored []byte) ([]Pack, error) {
	r, err := zstd.NewReader(bytes.NewReader(stored), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxIndex), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, fmt.Errorf("decode index: %w: %w", crypto.ErrDamaged, err)
	}
	defer r.Close()
	var packs []Pack
	read, first := 0, true
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if read += len(line) + 1; read > maxIndex {
			return nil, fmt.Errorf("decode index: longer than %d bytes: %w", maxIndex, crypto.ErrDamaged)
		}
		if first {
			if first = false; line != indexMagic {
				return nil, fmt.Errorf("decode index: first line %.40q: %w", line, crypto.ErrDamaged)
			}
			continue
		}
		if packs, err = appendLine(packs, line); err != nil {
			return nil, fmt.Errorf("decode index: %w", err)
		}
	}
	if err := lines.Err(); err != nil || first {
		return nil, fmt.Errorf("decode index: %w: %w", crypto.ErrDamaged, cmp.Or(err, fmt.Errorf("empty")))
	}
	return packs, nil
}

func appendLine(packs []Pack, line string) ([]Pack, error) {
	bad := fmt.Errorf("line %.100q: %w", line, crypto.ErrDamaged)
	f := strings.Split(line, " ")
	if len(f) != 3 {
		return nil, bad
	}
	if f[0] == "pack" {
		size, err := strconv.ParseInt(f[2], 10, 64)
		if _, herr := hex.DecodeString(f[1]); err != nil || herr != nil || len(f[1]) != 64 || f[1] != strings.ToLower(f[1]) || size < 0 || size > maxPack {
			return nil, bad
		}
		return append(packs, Pack{Digest: f[1], Size: size}), nil
	}
	if len(packs) == 0 {
		return nil, bad
	}
	p := &packs[len(packs)-1]
	id, err := crypto.ParseID(f[0])
	if err != nil {
		return nil, bad
	}
	off, err1 := strconv.ParseInt(f[1], 10, 64)
	n, err2 := strconv.Atoi(f[2])
	if err1 != nil || err2 != nil || off < 0 || n <= 0 || n > crypto.MaxSealed || off > p.Size-int64(n) {
		return nil, bad
	}
	if k := len(p.Frames); k > 0 && off < p.Frames[k-1].Off+int64(p.Frames[k-1].Len) {
		return nil, fmt.Errorf("frames overlap, %w", bad)
	}
	p.Frames = append(p.Frames, Frame{ID: id, Off: off, Len: n})
	return packs, nil
}

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
		for _, f := range p.Frames {
			x.frames = append(x.frames, place{f.ID, uint32(len(x.packs)), uint32(f.Off), uint32(f.Len)})
		}
		p.Frames = nil
		x.packs = append(x.packs, p)
	}
	slices.SortStableFunc(x.frames, func(a, b place) int { return bytes.Compare(a.id[:], b.id[:]) })
	return x
}

// LoadIndex reads and verifies the index objects with the given digests.
func LoadIndex(ctx context.Context, t target.Target, digests []string) (*Index, error) {
	var packs []Pack
	for _, d := range digests {
		more, err := ReadIndex(ctx, t, d)
		if err != nil {
			return nil, err
		}
		packs = append(packs, more...)
	}
	return NewIndex(packs), nil
}

// ReadIndex reads and verifies one index object.
func ReadIndex(ctx context.Context, t target.Target, digest string) ([]Pack, error) {
	b, err := ReadDigest(ctx, t, IndexName(digest), maxIndexBytes)
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	packs, err := DecodeIndex(b)
	if err != nil {
		return nil, fmt.Errorf("read index %s: %w", digest, err)
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
