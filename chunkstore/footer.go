package chunkstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"lifeboat/crypto"
	"lifeboat/target"
)

// A pack ends with a footer that repeats its lines of the index, so that an index object which is lost on every copy takes
// no data with it. The last line has a fixed length: the number of bytes of the lines before it.
const (
	footerMagic = "lifeboat frames "
	footerEnd   = len(footerMagic) + 10 + 1
)

// footer is what follows the frames of a pack.
func footer(frames []Frame) []byte {
	var b []byte
	for _, f := range frames {
		b = appendFrame(b, f)
	}
	return fmt.Appendf(b, "%s%010d\n", footerMagic, len(b))
}

// readFooter reads the frames of the pack that t holds under name. The footer is not authenticated; what is read through it
// is: a frame opens, and its chunks have their IDs, or it is damaged.
func readFooter(ctx context.Context, t target.Target, name string, size int64) (Pack, error) {
	return parseFooter(name, size, func(off int64, buf []byte) error { return target.ReadRange(ctx, t, name, off, buf) })
}

// ReadPack reads and verifies a whole pack, and returns the frames that its footer lists.
func ReadPack(ctx context.Context, t target.Target, o target.Object) (Pack, error) {
	b, err := ReadDigest(ctx, t, o.Name, maxPack)
	if err != nil {
		return Pack{}, err
	}
	return parseFooter(o.Name, int64(len(b)), func(off int64, buf []byte) error {
		copy(buf, b[off:])
		return nil
	})
}

// parseFooter reads a footer; read fills a buffer from an offset on.
func parseFooter(name string, size int64, read func(off int64, buf []byte) error) (Pack, error) {
	digest, ok := Digest(name)
	if !ok || name != PackName(digest) || size < int64(len(packMagic)+footerEnd) || size > maxPack {
		return Pack{}, fmt.Errorf("%s: not a pack: %w", name, crypto.ErrDamaged)
	}
	end := make([]byte, footerEnd)
	if err := read(size-int64(footerEnd), end); err != nil {
		return Pack{}, err
	}
	digits, ok := strings.CutPrefix(string(end), footerMagic)
	n, err := strconv.ParseInt(strings.TrimSuffix(digits, "\n"), 10, 64)
	if !ok || err != nil || n < 0 || n > size-int64(footerEnd) {
		return Pack{}, fmt.Errorf("%s: no footer: %w", name, crypto.ErrDamaged)
	}
	lines := make([]byte, n)
	if err := read(size-int64(footerEnd)-n, lines); err != nil {
		return Pack{}, err
	}
	packs := []Pack{{Digest: digest, Size: size}}
	for line := range strings.Lines(string(lines)) {
		if strings.HasPrefix(line, "pack ") {
			return Pack{}, fmt.Errorf("%s: footer: %w", name, crypto.ErrDamaged)
		}
		if packs, err = appendLine(packs, strings.TrimSuffix(line, "\n")); err != nil {
			return Pack{}, fmt.Errorf("%s: footer: %w", name, err)
		}
	}
	return packs[0], nil
}

// RebuildIndex makes the index of all packs on t from their footers. Packs that cannot be read are left out.
func RebuildIndex(ctx context.Context, t target.Target) (*Index, error) {
	var packs []Pack
	for info, err := range t.List(ctx, "packs/") {
		if err != nil {
			return nil, fmt.Errorf("rebuild the index: %w", err)
		}
		p, err := readFooter(ctx, t, info.Name, info.Size)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			packs = append(packs, p)
		}
	}
	return NewIndex(packs), nil
}
