package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

// Sizes for page files, in bytes.
const (
	minPage   = 512
	groupSize = 64 << 10 // the chunk of unchanged neighbours
	batchSize = 1 << 20  // what is read and hashed at once
	nodeSpan  = 16 << 20 // what an extents node covers
)

// batch is a stretch of a page file on its way from the reader over the hashers to the writer.
type batch struct {
	off    int64
	data   []byte
	pages  []crypto.ID // hashes
	old    []crypto.ID // hashes in the page map; may be shorter than pages, nil without a map
	groups []group
	known  bool  // what the base has here is known: no page behind the end of old
	differ int64 // bytes of pages that differ from the base, where one that was not there counts as zeros
	done   chan error
}

// group is up to groupSize bytes of a batch.
type group struct {
	changed int // pages that differ from the page map, or that it does not have; all of them in a full
	id      crypto.ID
	known   chunkstore.Loc
	zero    bool
}

// pages stores an item of fixed-size pages. Reading, hashing and storing overlap; storing keeps the order of the file.
func (t *taker) pages(ctx context.Context, item Item, old *baseExtents) ([]ExtentsRef, int64, error) {
	if err := t.newMap.begin(item.Name); err != nil {
		return nil, 0, err
	}
	hasMap := t.oldMap != nil && t.oldMap.seek(item.Name) && old != nil && old.file.PageSize == item.PageSize
	workers := runtime.GOMAXPROCS(0)
	for len(t.batches) < 2*workers+2 {
		t.batches = append(t.batches, &batch{done: make(chan error, 1)})
	}
	w := &pageWriter{taker: t, old: old, pageSize: item.PageSize, mapped: hasMap, anew: t.anew(item, old)}
	if item.Size >= 0 && item.Size < batchSize { // nothing could overlap
		if err := w.small(ctx, item, t.batches[0]); err != nil {
			return nil, 0, err
		}
		return w.finish(ctx)
	}
	g, ctx := errgroup.WithContext(ctx)
	free := make(chan *batch, len(t.batches))
	for _, b := range t.batches {
		free <- b
	}
	hash := make(chan *batch, cap(free))
	order := make(chan *batch, cap(free))
	g.Go(func() error {
		defer close(hash)
		defer close(order)
		return w.readBatches(ctx, item, free, hash, order)
	})
	for range workers {
		g.Go(func() error {
			h := t.job.IDs.NewHasher()
			for b := range hash {
				b.done <- t.hash(h, b, item.PageSize)
			}
			return nil
		})
	}
	g.Go(func() error {
		for b := range order {
			if err := <-b.done; err != nil {
				return err
			}
			if err := w.batch(ctx, b); err != nil {
				return err
			}
			free <- b
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	return w.finish(ctx)
}

func (w *pageWriter) readBatches(ctx context.Context, item Item, free <-chan *batch, hash, order chan<- *batch) error {
	for off := int64(0); ; {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		n, err := w.readBatch(item, off, b)
		if n == 0 || err != nil {
			return err
		}
		off += int64(n)
		hash <- b
		order <- b
		if n < batchSize {
			return nil
		}
	}
}

// readBatch reads what follows byte off; nothing at the end of the file.
func (w *pageWriter) readBatch(item Item, off int64, b *batch) (n int, err error) {
	if b.data == nil {
		b.data = make([]byte, batchSize)
	}
	n, err = io.ReadFull(item.Body, b.data[:batchSize])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, fmt.Errorf("read from byte %d: %w", off, err)
	}
	b.off, b.data, b.old, b.known = off, b.data[:n], nil, w.anew
	if w.mapped && n > 0 {
		b.old = w.oldMap.hashes(off/int64(item.PageSize), (n+item.PageSize-1)/item.PageSize)
		b.known = !w.oldMap.lost
	}
	return n, nil
}

// small stores a file that fits into one batch.
func (w *pageWriter) small(ctx context.Context, item Item, b *batch) error {
	n, err := w.readBatch(item, 0, b)
	if n == 0 || err != nil {
		return err
	}
	if err := w.hash(w.hasher, b, item.PageSize); err != nil {
		return err
	}
	return w.batch(ctx, b)
}

var zeros [groupSize]byte

// hash computes the hashes of a batch, compares them with the page map and looks up the groups that will be stored whole.
func (t *taker) hash(h *crypto.Hasher, b *batch, pageSize int) error {
	b.pages, b.groups, b.differ = b.pages[:0], b.groups[:0], 0
	var ids []crypto.ID
	var which []int
	for at := 0; at < len(b.data); at += groupSize {
		data := b.data[at:min(at+groupSize, len(b.data))]
		first := len(b.pages)
		g := group{zero: bytes.Equal(data, zeros[:len(data)])}
		for p := 0; p < len(data); p += pageSize {
			i := len(b.pages)
			page := data[p:min(p+pageSize, len(data))]
			b.pages = append(b.pages, h.Page(page))
			differs := i >= len(b.old) || b.old[i] != b.pages[i]
			if differs || t.job.Full {
				g.changed++
			}
			if differs && b.known && (i < len(b.old) || !bytes.Equal(page, zeros[:len(page)])) {
				b.differ += int64(len(page))
			}
		}
		if n := len(b.pages) - first; 2*g.changed > n && !g.zero {
			g.id = h.Pages(pageSize, len(data), b.pages[first:])
			ids, which = append(ids, g.id), append(which, len(b.groups))
		}
		b.groups = append(b.groups, g)
	}
	if len(ids) == 0 {
		return nil
	}
	places := make([]chunkstore.Loc, len(ids))
	if err := t.job.Known.Lookup(ids, places); err != nil {
		return fmt.Errorf("look up chunks: %w", err)
	}
	for i, w := range which {
		b.groups[w].known = places[i]
	}
	return nil
}

// pageWriter turns the batches of one file into extents.
type pageWriter struct {
	*taker
	old      *baseExtents
	pageSize int
	mapped   bool // oldMap stands at the file
	anew     bool
	refs     []ExtentsRef
	extents  []Extent
	start    int64 // of extents
	end      int64
}

func (w *pageWriter) batch(ctx context.Context, b *batch) error {
	if err := w.newMap.pages(b.off/int64(w.pageSize), b.pages); err != nil {
		return err
	}
	w.result.Changed += b.differ
	perGroup := groupSize / w.pageSize
	for i, g := range b.groups {
		at := i * groupSize
		data := b.data[at:min(at+groupSize, len(b.data))]
		first := i * perGroup
		pages := b.pages[first:min(first+perGroup, len(b.pages))]
		var old []crypto.ID
		if first < len(b.old) && !w.job.Full {
			old = b.old[first:min(first+len(pages), len(b.old))]
		}
		if err := w.group(ctx, g, b.off+int64(at), data, pages, old); err != nil {
			return err
		}
	}
	w.progress(len(b.data))
	if w.end = b.off + int64(len(b.data)); w.end%nodeSpan == 0 {
		return w.flush(ctx)
	}
	return nil
}

// group decides how one group is stored: as the base has it, as the base has it but for some pages, or whole.
func (w *pageWriter) group(ctx context.Context, g group, off int64, data []byte, pages, old []crypto.ID) error {
	if g.zero {
		w.extents = appendExtent(w.extents, Extent{Bytes: int64(len(data))})
		return nil
	}
	have := w.old.cut(ctx, off, off+int64(len(data)))
	if old != nil && have != nil && 2*g.changed <= len(pages) {
		pieces := w.inPieces(have)
		if g.changed == 0 && !w.worthMoving(have, len(data)) {
			w.reuse(have)
			return nil
		}
		if g.changed > 0 && 2*(g.changed+pieces) <= len(pages) && !w.worthMoving(have, len(data)) {
			return w.overlay(have, data, pages, old)
		}
		return w.whole(Extent{ID: w.hasher.Pages(w.pageSize, len(data), pages)}, data)
	}
	if g.id.IsZero() {
		g.id = w.hasher.Pages(w.pageSize, len(data), pages)
	}
	if len(have) == 1 && have[0].ID == g.id && have[0].Skip == 0 && have[0].Bytes == int64(len(data)) && !w.worthMoving(have, len(data)) {
		w.reuse(have)
		return nil
	}
	return w.whole(Extent{ID: g.id, Chunk: g.known}, data)
}

// inPieces counts the pages of a group that live outside of its largest chunk.
func (w *pageWriter) inPieces(extents []Extent) int {
	var all, most int64
	perChunk := map[chunkstore.Loc]int64{}
	for _, e := range extents {
		all += e.Bytes
		perChunk[e.Chunk] += e.Bytes
		most = max(most, perChunk[e.Chunk])
	}
	return int(all-most) / w.pageSize
}

// worthMoving reports whether a group should be stored again because it keeps mostly dead frames alive, and takes it from
// the budget.
func (w *pageWriter) worthMoving(extents []Extent, size int) bool {
	if w.budget < int64(size) || !w.taker.old.sparse(extents) {
		return false
	}
	w.budget -= int64(size)
	return true
}

func (w *pageWriter) reuse(extents []Extent) {
	for _, e := range extents {
		w.extents = appendExtent(w.extents, e)
	}
}

func (w *pageWriter) whole(e Extent, data []byte) error {
	e, err := w.store(e.ID, e.Chunk, data)
	if err == nil {
		w.extents = appendExtent(w.extents, e)
	}
	return err
}

// overlay keeps the base's extents but for the pages that changed; neighbours that changed together are one chunk.
func (w *pageWriter) overlay(have []Extent, data []byte, pages, old []crypto.ID) error {
	differs := func(i int) bool { return i >= len(old) || old[i] != pages[i] }
	for from := 0; from < len(pages); {
		to := from + 1
		for to < len(pages) && differs(to) == differs(from) {
			to++
		}
		lo, hi := from*w.pageSize, min(to*w.pageSize, len(data))
		if !differs(from) {
			for _, e := range cutExtents(nil, have, int64(lo), int64(hi)) {
				w.extents = appendExtent(w.extents, e)
			}
		} else if part := data[lo:hi]; bytes.Equal(part, zeros[:len(part)]) {
			w.extents = appendExtent(w.extents, Extent{Bytes: int64(len(part))})
		} else if err := w.whole(Extent{ID: w.hasher.Pages(w.pageSize, len(part), pages[from:to])}, part); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func (w *pageWriter) flush(ctx context.Context) error {
	if w.end == w.start {
		return nil
	}
	ref, err := w.node(w.extents, w.end-w.start, w.old.covers(ctx, w.start, w.end))
	w.refs, w.extents, w.start = append(w.refs, ref), w.extents[:0], w.end
	return err
}

func (w *pageWriter) finish(ctx context.Context) ([]ExtentsRef, int64, error) {
	err := w.flush(ctx)
	return w.refs, w.end, err
}
