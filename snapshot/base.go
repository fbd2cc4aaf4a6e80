package snapshot

import (
	"context"
	"iter"

	"lifeboat/crypto"
)

// baseFiles walks the files of the base in step with the items of a view. A part of the base that cannot be read counts
// as absent: its content is stored again.
type baseFiles struct {
	base *Base
	next func() (File, error, bool)
	stop func()
	file File
	done bool
	held map[crypto.ID]bool
}

func (b *baseFiles) close() {
	if b.stop != nil {
		b.stop()
	}
}

// seek returns the extents of the file of this name, nil if the base has none. Names come in ascending order.
func (b *baseFiles) seek(ctx context.Context, name string, warn func(string, ...any)) *baseExtents {
	if b == nil {
		return nil
	}
	if b.next == nil {
		b.next, b.stop = iter.Pull2(b.base.Tree.Files(ctx))
	}
	for !b.done && b.file.Name < name {
		f, err, ok := b.next()
		if err != nil {
			warn("the file list of the previous snapshot cannot be read (%v): what follows %q is compared by content", err, name)
		}
		if b.done = !ok || err != nil; !b.done {
			b.file = f
		}
	}
	if b.done || b.file.Name != name {
		return nil
	}
	return &baseExtents{tree: b.base.Tree, file: b.file, holds: b.holds, warn: warn}
}

func (b *baseFiles) holds(frame crypto.ID) bool {
	if b.held == nil {
		b.held = map[crypto.ID]bool{}
	}
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
