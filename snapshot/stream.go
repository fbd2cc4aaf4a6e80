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
	c := chunker.New(item.Body, t.job.Polynomial, chunker.WithBoundaries(minChunk, maxChunk), chunker.WithAverageBits(averageBits))
	var refs []ExtentsRef
	var extents []Extent
	var size, start int64
	buf := make([]byte, maxChunk)
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
		chunk, err := c.Next(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		e, err := t.streamChunk(chunk.Data)
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

func (t *taker) streamChunk(b []byte) (Extent, error) {
	ids := []crypto.ID{t.hasher.Stream(b)}
	places := make([]chunkstore.Loc, 1)
	if err := t.job.Known.Lookup(ids, places); err != nil {
		return Extent{}, err
	}
	return t.store(ids[0], places[0], b)
}
