package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// readSize is how many bytes are read from the database file at a time: a multiple of every page size.
const readSize = 512 << 10

// pageReader yields the pages of a state in order: in large reads from the database file, with the newer pages of the
// log laid over them. A page that a checkpoint is writing to the file at this moment is always in the overlay, because
// checkpoints copy no frame after the pinned one.
type pageReader struct {
	ctx      context.Context // io.Reader has no place for it
	file     io.ReaderAt
	pageSize int
	pages    uint32
	next     uint32       // the first page that was not read yet
	log      *log         // nil where the file alone is the state
	overlay  []frameRef   // of the pages from next on, ascending
	last     func() error // called once after the last page; its error replaces io.EOF

	rest  []byte // read and not yet yielded
	block []byte // what rest is a part of
	frame []byte // room for one frame of the log
}

func (r *pageReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.rest) > 0 {
		n := copy(p, r.rest)
		r.rest = r.rest[n:]
		return n, nil
	}
	if r.next > r.pages {
		if err := r.last(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(p) >= r.pageSize { // straight into the caller's memory
		n := min(len(p)/r.pageSize, readSize/r.pageSize, int(r.pages-r.next)+1) * r.pageSize
		if err := r.fill(p[:n]); err != nil {
			return 0, err
		}
		return n, nil
	}
	if r.block == nil {
		r.block = make([]byte, readSize)
	}
	b := r.block[:min(readSize/r.pageSize, int(r.pages-r.next)+1)*r.pageSize]
	if err := r.fill(b); err != nil {
		return 0, err
	}
	n := copy(p, b)
	r.rest = b[n:]
	return n, nil
}

// fill reads the next pages into dst, which is as long as some whole pages.
func (r *pageReader) fill(dst []byte) error {
	first, count := r.next, uint32(len(dst)/r.pageSize)
	n, err := r.file.ReadAt(dst, int64(first-1)*int64(r.pageSize))
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read pages %d to %d: %w", first, first+count-1, err)
	}
	missing := first + uint32(n/r.pageSize) // the first page that the file does not have
	page := func(number uint32) []byte {
		at := int(number-first) * r.pageSize
		return dst[at : at+r.pageSize]
	}
	if lock := lockPage(r.pageSize); lock >= first && lock < first+count {
		clear(page(lock))
		if missing == lock {
			missing++
		}
	}
	for len(r.overlay) > 0 && r.overlay[0].page() < first+count {
		ref := r.overlay[0]
		if ref.page() > missing {
			break
		}
		if r.frame == nil {
			r.frame = make([]byte, frameHeaderSize+r.pageSize)
		}
		if err := r.log.readPage(page(ref.page()), r.frame, ref); err != nil {
			return err
		}
		r.overlay = r.overlay[1:]
		if ref.page() == missing {
			missing++
			if missing == lockPage(r.pageSize) {
				missing++
			}
		}
	}
	if missing < first+count {
		return corrupt("page %d of %d is past the end of the file and not in the log: the file was cut off", missing, r.pages)
	}
	r.next += count
	return nil
}
