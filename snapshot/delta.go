package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

// ErrPrior is wrapped where a view leaves out content of the prior snapshot that the repository cannot give: the next view must
// leave nothing out.
var ErrPrior = errors.New("the previous snapshot cannot be gone on from")

// delta stores an item that only tells how it differs from the base.
func (t *taker) delta(ctx context.Context, item Item, old *baseExtents) ([]ExtentsRef, int64, error) {
	size := int64(item.PageSize)
	if item.Size < 0 || item.Size%size != 0 {
		return nil, 0, fmt.Errorf("a difference of pages for a file of %d bytes", item.Size)
	}
	if old == nil || old.file.Size > 0 && (old.file.Kind != Pages || old.file.PageSize != item.PageSize) {
		return nil, 0, fmt.Errorf("%w: it has no such file of pages", ErrPrior)
	}
	if err := t.newMap.begin(item.Name); err != nil {
		return nil, 0, err
	}
	hasMap := t.oldMap != nil && t.oldMap.seek(item.Name)
	w := &deltaWriter{pageWriter: pageWriter{taker: t, old: old, pageSize: item.PageSize}, ctx: ctx, body: item.Body, listed: item.Delta.Pages,
		keep: min(item.Delta.Keep, old.file.Size/size, item.Size/size)}
	pages := item.Size / size
	for first := int64(0); first < pages; first += nodeSpan / size {
		last := min(first+nodeSpan/size, pages)
		w.first, w.known = first, make([]crypto.ID, last-first)
		if hasMap && first < w.keep {
			copy(w.known, t.oldMap.hashes(first, int(min(last, w.keep)-first)))
		}
		if err := w.span(last); err != nil {
			return nil, 0, err
		}
		t.progress(int((last - first) * size))
	}
	if len(w.listed) > 0 {
		return nil, 0, fmt.Errorf("the source sent page %d of a file of %d, or twice", w.listed[0], pages)
	}
	return w.refs, item.Size, nil
}

// deltaWriter turns a difference into extents, one span of a node after another. Numbers of pages count from the beginning of the
// file.
type deltaWriter struct {
	pageWriter
	ctx    context.Context
	body   io.Reader
	listed []int64     // still to come in body
	keep   int64       // pages that the base's file has
	first  int64       // page of the span
	known  []crypto.ID // hashes of the span's pages as the base has them; zero where that is not known, which equals no page's
	buf    [groupSize]byte
}

// span stores the pages from w.first to last: runs of listed pages within a group, and of others between them.
func (w *deltaWriter) span(last int64) error {
	size := int64(w.pageSize)
	hashes := slices.Clone(w.known)
	for at := w.first; at < last; {
		var err error
		end := last
		if len(w.listed) > 0 {
			end = min(end, w.listed[0])
		}
		if end > at {
			err = w.others(at, end)
			for i := max(at, w.keep); i < end; i++ {
				hashes[i-w.first] = w.hasher.Page(zeros[:size])
			}
		} else {
			perGroup := groupSize / size
			end = at
			for len(w.listed) > 0 && w.listed[0] == end && end < min(last, at-at%perGroup+perGroup) {
				w.listed = w.listed[1:]
				end++
			}
			if end == at {
				return fmt.Errorf("the source sent page %d after page %d", w.listed[0], at)
			}
			err = w.changed(at, end, hashes[at-w.first:end-w.first])
		}
		if err != nil {
			return err
		}
		at = end
	}
	if err := w.newMap.pages(w.first, hashes); err != nil {
		return err
	}
	w.end = last * size
	return w.flush(w.ctx)
}

// others stores pages that the source did not send: the base's, and zeros behind them.
func (w *deltaWriter) others(from, to int64) error {
	size := int64(w.pageSize)
	if kept := min(to, w.keep); from < kept {
		have := w.old.cut(w.ctx, from*size, kept*size)
		if have == nil {
			return fmt.Errorf("%w: pages %d to %d of it cannot be read, or are no longer stored", ErrPrior, from, kept)
		}
		w.reuse(have)
		from = kept
	}
	w.result.Changed += max(0, min(to, w.old.file.Size/size)-from) * size
	w.extents = appendExtent(w.extents, Extent{Bytes: (to - from) * size})
	return nil
}

// changed stores pages that the source sent, but for those that are as the base has them, and sets their hashes.
func (w *deltaWriter) changed(from, to int64, hashes []crypto.ID) error {
	size := int64(w.pageSize)
	data := w.buf[:(to-from)*size]
	if _, err := io.ReadFull(w.body, data); err != nil {
		return fmt.Errorf("read from page %d: %w", from, err)
	}
	page := func(i int64) []byte { return data[i*size : (i+1)*size] }
	same := make([]bool, to-from)
	for i := range to - from {
		id := w.hasher.Page(page(i))
		same[i] = id == hashes[i]
		hashes[i] = id
		if !same[i] && (from+i < w.old.file.Size/size || !bytes.Equal(page(i), zeros[:size])) {
			w.result.Changed += size
		}
	}
	for i := int64(0); i < to-from; {
		j := i + 1
		for j < to-from && same[j] == same[i] {
			j++
		}
		var err error
		if same[i] {
			err = w.others(from+i, from+j)
		} else {
			err = w.run(data[i*size:j*size], hashes[i:j])
		}
		if err != nil {
			return err
		}
		i = j
	}
	return nil
}

// run stores neighbours that changed as one chunk.
func (w *deltaWriter) run(data []byte, hashes []crypto.ID) error {
	if bytes.Equal(data, zeros[:len(data)]) {
		w.extents = appendExtent(w.extents, Extent{Bytes: int64(len(data))})
		return nil
	}
	e := Extent{ID: w.hasher.Pages(w.pageSize, len(data), hashes)}
	if len(data) == groupSize {
		places := make([]chunkstore.Loc, 1)
		if err := w.job.Known.Lookup([]crypto.ID{e.ID}, places); err != nil {
			return fmt.Errorf("look up chunks: %w", err)
		}
		e.Chunk = places[0]
	}
	return w.whole(e, data)
}
