package snapshot

import (
	"context"
	"slices"
	"sort"
	"strings"

	"lifeboat/crypto"
)

// baseFiles finds the files of the base. A part of it that cannot be read counts as absent: its content is stored again.
type baseFiles struct {
	base  *Base
	nodes map[int][]File // recently read files nodes
	held  map[crypto.ID]bool
	lost  bool // a part of the list was not read
}

// maxNodes bounds the memory for files nodes to about 25 MiB.
const maxNodes = 256

// find returns the extents of the file of this name, nil if the base has none.
func (b *baseFiles) find(ctx context.Context, name string, warn func(string, ...any)) *baseExtents {
	if b == nil {
		return nil
	}
	refs := b.base.Tree.Root.Files
	n := sort.Search(len(refs), func(i int) bool {
		first, err := unescapeName(refs[i].First)
		return err != nil || first > name
	}) - 1
	if n < 0 {
		return nil
	}
	files, ok := b.nodes[n]
	if !ok {
		node, err := b.base.Tree.node(ctx, refs[n].Ref)
		if err == nil {
			files, err = decodeFiles(node)
		}
		if err != nil {
			b.lost = true
			warn("the file list of the previous snapshot cannot be read (%v): files from %q on are compared by content", err, refs[n].First)
		}
		for old := range b.nodes {
			if len(b.nodes) < maxNodes {
				break
			}
			delete(b.nodes, old)
		}
		b.nodes[n] = files
	}
	i, ok := slices.BinarySearchFunc(files, name, func(f File, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return nil
	}
	return &baseExtents{tree: b.base.Tree, file: files[i], holds: b.holds, warn: warn}
}

func (b *baseFiles) holds(frame crypto.ID) bool {
	ok, seen := b.held[frame]
	if !seen {
		ok = b.base.Holds(frame)
		b.held[frame] = ok
	}
	return ok
}

// baseExtents reads the extents of one file of the base from its beginning to its end.
type baseExtents struct {
	tree  *Tree
	file  File
	holds func(crypto.ID) bool
	warn  func(string, ...any)

	node    int   // of the extents at hand
	start   int64 // of the extents at hand, bytes from the file's beginning
	extents []Extent
	loaded  bool
}

// chunks returns the chunks of the whole file, and false where they cannot be read.
func (b *baseExtents) chunks(ctx context.Context) (map[crypto.ID]bool, bool) {
	all := map[crypto.ID]bool{}
	for _, x := range b.file.Extents {
		extents, err := b.tree.Extents(ctx, x)
		if err != nil {
			return nil, false
		}
		for _, e := range extents {
			all[e.ID] = true
		}
	}
	return all, true
}

// covers returns the node that covers exactly from to to, nil if there is none.
func (b *baseExtents) covers(ctx context.Context, from, to int64) *ExtentsRef {
	if b == nil || !b.load(ctx, from) || b.start != from || from+b.file.Extents[b.node].Bytes != to {
		return nil
	}
	return &b.file.Extents[b.node]
}

// cut returns the extents from byte from to byte to, as far as the file goes; nil where they cannot be read or the
// repository no longer holds one of their frames. nil too where a node ends between. Calls go forward.
func (b *baseExtents) cut(ctx context.Context, from, to int64) []Extent {
	if b == nil || !b.load(ctx, from) {
		return nil
	}
	out := cutExtents(nil, b.extents, from-b.start, to-b.start)
	left := min(to, b.file.Size) - from
	for _, e := range out {
		left -= e.Bytes
		if !e.IsZero() && !b.holds(e.Chunk.Frame) {
			return nil
		}
	}
	if left != 0 {
		return nil
	}
	return out
}

// load makes the extents at hand those around byte at.
func (b *baseExtents) load(ctx context.Context, at int64) bool {
	for b.node < len(b.file.Extents) && b.start+b.file.Extents[b.node].Bytes <= at {
		b.start += b.file.Extents[b.node].Bytes
		b.node++
		b.loaded = false
	}
	if b.node == len(b.file.Extents) {
		return false
	}
	if !b.loaded {
		b.loaded = true
		var err error
		if b.extents, err = b.tree.Extents(ctx, b.file.Extents[b.node]); err != nil {
			b.extents = nil
			b.warn("%s: extents of the previous snapshot cannot be read (%v): stored again", b.file.Name, err)
		}
	}
	return b.extents != nil
}
