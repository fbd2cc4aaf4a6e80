package sqlite

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Layout of the -wal file, https://sqlite.org/fileformat2.html section 4.1. Numbers are big-endian.
const (
	walHeaderSize   = 32
	frameHeaderSize = 24
	walMagic        = 0x377f0682 // the lowest bit tells the byte order of checksums
	walVersion      = 3007000
)

// errLog says that the log cannot be read for certain; the pager then decides what is true.
var errLog = errors.New("the log and its index tell too little")

// frameRef is a page and the frame that holds its newest version, page in the upper half so that refs sort by page.
type frameRef uint64

func newRef(page, frame uint32) frameRef { return frameRef(page)<<32 | frameRef(frame) }

func (r frameRef) page() uint32  { return uint32(r >> 32) }
func (r frameRef) frame() uint32 { return uint32(r) }

// log reads frames of a -wal file that belong to one pinned state.
type log struct {
	file     io.ReaderAt
	pageSize int
	salts    [8]byte
}

// frameOffset is the offset of a frame's header; frames are numbered from 1.
func (l *log) frameOffset(frame uint32) int64 {
	return walHeaderSize + int64(frame-1)*int64(frameHeaderSize+l.pageSize)
}

// checkHeader compares the log's header with what the index says about it.
func (l *log) checkHeader() error {
	var b [walHeaderSize]byte
	if _, err := l.file.ReadAt(b[:], 0); err != nil {
		return fmt.Errorf("read log header: %w", err)
	}
	be := binary.BigEndian
	if be.Uint32(b[0:])&^1 != walMagic || be.Uint32(b[4:]) != walVersion || [8]byte(b[16:]) != l.salts ||
		be.Uint32(b[8:]) != uint32(l.pageSize) {
		return fmt.Errorf("%w: header %x", errLog, b[:24])
	}
	return nil
}

// newest lists the pages in frames 1 to x.frames, each with its last frame, ascending by page. It takes 8 to 24 bytes
// of memory for each distinct page. Errors wrap errLog where the log is not what the index x says.
func (l *log) newest(ctx context.Context, x *index) ([]frameRef, error) {
	if err := l.checkHeader(); err != nil {
		return nil, err
	}
	var refs []frameRef
	limit := 1 << 16
	var h [frameHeaderSize]byte
	be := binary.BigEndian
	for frame := uint32(1); frame <= x.frames; frame++ {
		if _, err := l.file.ReadAt(h[:], l.frameOffset(frame)); err != nil {
			return nil, fmt.Errorf("%w: read header of frame %d: %w", errLog, frame, err)
		}
		page := be.Uint32(h[0:])
		if page == 0 || [8]byte(h[8:]) != l.salts {
			return nil, fmt.Errorf("%w: frame %d has header %x", errLog, frame, h)
		}
		if page <= x.pages { // a page beyond was cut off by a later VACUUM
			refs = append(refs, newRef(page, frame))
		}
		if len(refs) == limit {
			refs = lastFrames(refs)
			limit = max(limit, 2*len(refs))
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	// The last frame of a state is a commit: it has the size of the database and the checksum that the index has too.
	if x.frames > 0 && (be.Uint32(h[4:]) != x.pages || [2]uint32{be.Uint32(h[16:]), be.Uint32(h[20:])} != x.checksum) {
		return nil, fmt.Errorf("%w: frame %d is not the commit of %d pages that it says", errLog, x.frames, x.pages)
	}
	return lastFrames(refs), nil
}

// lastFrames sorts refs in place and keeps the highest frame of each page.
func lastFrames(refs []frameRef) []frameRef {
	slices.SortFunc(refs, func(a, b frameRef) int {
		if d := cmp.Compare(a.page(), b.page()); d != 0 {
			return d
		}
		return cmp.Compare(b.frame(), a.frame())
	})
	return slices.CompactFunc(refs, func(a, b frameRef) bool { return a.page() == b.page() })
}

// readPage reads the page that ref names into dst. buf has room for a frame.
func (l *log) readPage(dst, buf []byte, ref frameRef) error {
	if _, err := l.file.ReadAt(buf, l.frameOffset(ref.frame())); err != nil {
		return fmt.Errorf("read frame %d of the log for page %d: %w", ref.frame(), ref.page(), err)
	}
	if binary.BigEndian.Uint32(buf) != ref.page() || [8]byte(buf[8:]) != l.salts {
		return fmt.Errorf("%w: frame %d no longer holds page %d", ErrLost, ref.frame(), ref.page())
	}
	copy(dst, buf[frameHeaderSize:])
	return nil
}
