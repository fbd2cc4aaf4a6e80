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

// stream stores an item that is cut by its content.
func (t *taker) stream(ctx context.Context, item Item, old *baseExtents) ([]ExtentsRef, int64, error) {
	next := t.cut(item)
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
