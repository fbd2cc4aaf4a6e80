package snapshot

import (
	"context"
	"errors"
	"io"

	"github.com/restic/chunker"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

// Sizes of chunks of streams, in bytes; 2^18 on average.
const (
	minChunk    = 64 << 10
	maxChunk    = 1 << 20
	averageBits = 18
	// streamNode is how many extents a node of a stream has at most.
	streamNode = 1024
)

// same takes over the extents of an item that is as the base has it, as long as the repository holds them. nil: its content must be read.
func (t *taker) same(ctx context.Context, item Item, old *baseExtents) ([]ExtentsRef, error) {
	if t.job.Full || old == nil || item.State == "" || old.file.Kind != Stream || old.file.State != item.State || old.file.Size != item.Size || !old.file.ModTime.Equal(item.ModTime) {
		return nil, nil
	}
	refs := make([]ExtentsRef, 0, len(old.file.Extents))
	var at int64
	for i := range old.file.Extents {
		x := &old.file.Extents[i]
		extents := old.cut(ctx, at, at+x.Bytes)
		if extents == nil {
			return nil, nil
		}
		ref, err := t.node(extents, x.Bytes, x)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
		at += x.Bytes
		t.progress(int(x.Bytes))
	}
	return refs, nil
}

// stream stores an item that is cut by its content.
func (t *taker) stream(ctx context.Context, item Item, old *baseExtents) ([]ExtentsRef, int64, error) {
	next := t.cut(item)
	compared, before := t.anew(item, old), map[crypto.ID]bool(nil)
	if !compared && old != nil {
		before, compared = old.chunks(ctx)
	}
	var refs []ExtentsRef
	var extents []Extent
	var size, start int64
	flush := func() error {
		if len(extents) == 0 {
			return nil
		}
		ref, err := t.node(extents, size-start, old.covers(ctx, start, size))
		refs, extents, start = append(refs, ref), nil, size
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		chunk, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		e, err := t.streamChunk(chunk)
		if err != nil {
			return nil, 0, err
		}
		extents = appendExtent(extents, e)
		size += e.Bytes
		if compared && !before[e.ID] {
			t.result.Changed += e.Bytes
		}
		t.progress(int(e.Bytes))
		if e.ID[0] == 0 || len(extents) >= streamNode {
			if err := flush(); err != nil {
				return nil, 0, err
			}
		}
	}
	return refs, size, flush()
}

// cut returns the chunks of an item one by one, each until the next is asked for; then io.EOF.
func (t *taker) cut(item Item) func() ([]byte, error) {
	if t.chunk == nil {
		t.chunk = make([]byte, maxChunk)
	}
	if item.Size < 0 || item.Size > minChunk {
		c := chunker.New(item.Body, t.job.Polynomial, chunker.WithBoundaries(minChunk, maxChunk), chunker.WithAverageBits(averageBits))
		return func() ([]byte, error) {
			chunk, err := c.Next(t.chunk)
			return chunk.Data, err
		}
	}
	return func() ([]byte, error) { // one chunk, without the chunker's buffers; what follows it is more than was announced
		n, err := io.ReadFull(item.Body, t.chunk[:item.Size+1])
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return t.chunk[:n], err
	}
}

func (t *taker) streamChunk(b []byte) (Extent, error) {
	ids := []crypto.ID{t.hasher.Stream(b)}
	places := make([]chunkstore.Loc, 1)
	if err := t.job.Known.Lookup(ids, places); err != nil {
		return Extent{}, err
	}
	return t.store(ids[0], places[0], b)
}
