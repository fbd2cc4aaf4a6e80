package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// headerSize is the length of the database header in bytes.
const headerSize = 100

// magic begins every database file.
const magic = "SQLite format 3\x00"

// lockByte is the offset of the byte range that locks are taken on; the page that contains it holds no data.
const lockByte = 1 << 30

// header is what matters here of the first 100 bytes of a database, https://sqlite.org/fileformat2.html section 1.3.
// Numbers in it are big-endian.
type header struct {
	raw      [headerSize]byte
	pageSize int    // bytes, offset 16; 1 stands for 65536
	version  byte   // offset 19: 1 for the rollback journal modes, 2 for WAL
	changes  uint32 // offset 24: file change counter, incremented by each commit in the rollback journal modes
	pages    uint32 // offset 28: size of the database; valid if not 0 and validFor equals changes
	validFor uint32 // offset 92
}

func (h *header) wal() bool { return h.version == 2 }

// readHeader reads and checks the header of a file of any size. In WAL mode the counters may be older than the log.
func readHeader(f io.ReaderAt) (header, error) {
	var h header
	n, err := f.ReadAt(h.raw[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("read header: %w", err)
	}
	if n == 0 {
		return h, ErrEmpty
	}
	if n < headerSize {
		return h, notDatabase(fmt.Sprintf("it has %d bytes, and the header alone has %d", n, headerSize))
	}
	if string(h.raw[:len(magic)]) != magic {
		return h, notDatabase("it does not begin with \"SQLite format 3\", so it is another kind of file, or encrypted")
	}
	h.pageSize = pageSize(binary.BigEndian.Uint16(h.raw[16:]))
	if h.pageSize == 0 {
		return h, notDatabase(fmt.Sprintf("page size %d is no power of two from 512 to 65536", binary.BigEndian.Uint16(h.raw[16:])))
	}
	h.version = h.raw[19]
	if w := h.raw[18]; h.version < 1 || h.version > 2 || w < 1 || w > 2 {
		return h, notDatabase(fmt.Sprintf("format versions %d and %d are newer than this program knows, or it is encrypted", w, h.version))
	}
	h.changes = binary.BigEndian.Uint32(h.raw[24:])
	h.pages = binary.BigEndian.Uint32(h.raw[28:])
	h.validFor = binary.BigEndian.Uint32(h.raw[92:])
	return h, nil
}

// pageSize decodes the 16-bit form that the file header and the wal-index share; 0 means that it is not valid.
func pageSize(v uint16) int {
	if v == 1 {
		return 65536
	}
	if v < 512 || v&(v-1) != 0 {
		return 0
	}
	return int(v)
}

// count is the size in pages of a database that lies in the file alone, which has size bytes.
func (h *header) count(size int64) (uint32, error) {
	inFile := uint32(min(size/int64(h.pageSize), 1<<32-2))
	if h.pages == 0 || h.validFor != h.changes {
		if inFile == 0 {
			return 0, corrupt("the file has %d bytes, less than one page of %d", size, h.pageSize)
		}
		return inFile, nil
	}
	if h.pages > inFile {
		return 0, corrupt("its header says %d pages of %d bytes, and the file ends after %d: it was cut off", h.pages, h.pageSize, inFile)
	}
	return h.pages, nil
}

// lockPage is the number of the page that holds no data; SQLite numbers pages from 1.
func lockPage(pageSize int) uint32 { return uint32(lockByte/pageSize) + 1 }
