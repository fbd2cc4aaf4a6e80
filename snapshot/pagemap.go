package snapshot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
)

// A page map holds the hash of every page of one snapshot, so that the next can tell which pages changed. It is a cache
// in the state directory, named by the root of the tree that it describes: a run that dies leaves a map that no committed
// tree names. Every block carries a MAC over its place and content; what does not verify counts as absent, and the IDs of
// whole groups decide.
//
//	header: magic (18 bytes), map ID (16, random), root ID (16), MAC (16)
//	block:  file number (u32), first page (u64), count (u32), hashes (16 each), MAC (16); numbers big-endian
//	name:   file number (u32), ^0 (u64), length (u32), name, MAC (16)
const mapMagic = "lifeboat pagemap 1"

const (
	mapHeader = len(mapMagic) + 3*crypto.IDSize
	blockHead = 4 + 8 + 4
	nameBlock = ^uint64(0)
)

func mapPath(dir string, root crypto.ID) string { return filepath.Join(dir, root.String()+".map") }

// mapWriter writes the page map of the snapshot that is being taken.
type mapWriter struct {
	dir    string
	id     crypto.ID
	file   *os.File
	buf    *bufio.Writer
	hasher *crypto.Hasher
	number uint32
	block  []byte
}

func newMapWriter(dir string, id crypto.ID, hasher *crypto.Hasher) (*mapWriter, error) {
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, fmt.Errorf("create page map: %w", err)
	}
	w := &mapWriter{dir: dir, id: id, file: f, buf: bufio.NewWriterSize(f, 256<<10), hasher: hasher}
	_, err = w.buf.Write(make([]byte, mapHeader))
	return w, err
}

func (w *mapWriter) begin(name string) error {
	w.number++
	return w.write(nameBlock, len(name), []byte(name))
}

func (w *mapWriter) pages(first int64, hashes []crypto.ID) error {
	b := make([]byte, 0, len(hashes)*crypto.IDSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return w.write(uint64(first), len(hashes), b)
}

func (w *mapWriter) write(first uint64, count int, body []byte) error {
	b := append(w.block[:0], w.id[:]...)
	b = binary.BigEndian.AppendUint32(b, w.number)
	b = binary.BigEndian.AppendUint64(b, first)
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	b = append(b, body...)
	mac := w.hasher.Local(b)
	w.block = append(b, mac[:]...)
	_, err := w.buf.Write(w.block[crypto.IDSize:])
	if err != nil {
		return fmt.Errorf("write page map: %w", err)
	}
	return nil
}

// commit names the map by the root of its tree. The tree need not be committed: until it is, nobody asks for this map.
func (w *mapWriter) commit(root crypto.ID) error {
	defer w.abort()
	head := append([]byte(mapMagic), w.id[:]...)
	head = append(head, root[:]...)
	mac := w.hasher.Local(head)
	head = append(head, mac[:]...)
	if err := w.buf.Flush(); err != nil {
		return fmt.Errorf("write page map: %w", err)
	}
	if _, err := w.file.WriteAt(head, 0); err != nil {
		return fmt.Errorf("write page map: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("write page map: %w", err)
	}
	if err := os.Rename(w.file.Name(), mapPath(w.dir, root)); err != nil {
		return fmt.Errorf("write page map: %w", err)
	}
	return atomicfile.SyncDir(w.dir)
}

// abort drops the map if it was not committed.
func (w *mapWriter) abort() {
	_ = w.file.Close()
	_ = os.Remove(w.file.Name()) // gone already after commit
}

// mapReader reads a page map. It is quick where files are asked for in the order in which they were written. Whatever does
// not verify reads as absent.
type mapReader struct {
	file   *os.File
	buf    *bufio.Reader
	id     crypto.ID
	hasher *crypto.Hasher
	at     mapPlace // of what is read next
	name   string   // file that the reader stands in
	first  int64    // of block
	block  []crypto.ID
	lost   bool // nothing can be read from here

	far    mapPlace // how far names were learnt
	end    bool     // no further
	places map[string]mapPlace
}

// mapPlace is the beginning of a block, and the number of the file before it.
type mapPlace struct {
	off    int64
	number uint32
}

// openMap returns nil where there is no usable map.
func openMap(dir string, root crypto.ID, hasher *crypto.Hasher) *mapReader {
	f, err := os.Open(mapPath(dir, root))
	if err != nil {
		return nil
	}
	r := &mapReader{file: f, buf: bufio.NewReaderSize(f, 256<<10), hasher: hasher}
	head := make([]byte, mapHeader)
	if _, err := io.ReadFull(r.buf, head); err != nil {
		r.close()
		return nil
	}
	mac := hasher.Local(head[:mapHeader-crypto.IDSize])
	body := head[len(mapMagic):]
	if !bytes.HasPrefix(head, []byte(mapMagic)) || !bytes.Equal(mac[:], body[2*crypto.IDSize:]) || !bytes.Equal(root[:], body[crypto.IDSize:2*crypto.IDSize]) {
		r.close()
		return nil
	}
	copy(r.id[:], body)
	r.at.off, r.places = int64(mapHeader), map[string]mapPlace{}
	r.far = r.at
	return r
}

func (r *mapReader) close() { _ = r.file.Close() } // read only

// seek moves to the file of this name, and reports whether the map has it.
func (r *mapReader) seek(name string) bool {
	place, known := r.places[name]
	if !known {
		if r.end {
			return false
		}
		place = r.far
	}
	if place != r.at || r.lost {
		_, err := r.file.Seek(place.off, io.SeekStart)
		r.buf.Reset(r.file)
		r.at, r.name, r.block, r.lost = place, "", nil, err != nil
	}
	for !r.lost {
		if r.next(); r.name == name {
			return !r.lost
		}
	}
	return false
}

// next reads one block or name.
func (r *mapReader) next() {
	if err := r.read(); err != nil {
		r.lost, r.end, r.name, r.block = true, true, "", nil
		return
	}
	if r.at.off > r.far.off {
		r.far = r.at
	}
}

var errMap = errors.New("page map does not verify")

func (r *mapReader) read() error {
	head := make([]byte, crypto.IDSize+blockHead)
	copy(head, r.id[:])
	if _, err := io.ReadFull(r.buf, head[crypto.IDSize:]); err != nil {
		return err
	}
	number := binary.BigEndian.Uint32(head[crypto.IDSize:])
	first := binary.BigEndian.Uint64(head[crypto.IDSize+4:])
	count := int(binary.BigEndian.Uint32(head[crypto.IDSize+12:]))
	size := count
	if first != nameBlock {
		size *= crypto.IDSize
	}
	if size > 1<<20 {
		return errMap
	}
	b := append(head, make([]byte, size+crypto.IDSize)...)
	body := b[len(head):]
	if _, err := io.ReadFull(r.buf, body); err != nil {
		return err
	}
	if mac := r.hasher.Local(b[:len(b)-crypto.IDSize]); !bytes.Equal(mac[:], body[size:]) {
		return errMap
	}
	before := r.at
	r.at.off += int64(blockHead + size + crypto.IDSize)
	if first == nameBlock {
		if number != before.number+1 {
			return errMap
		}
		r.at.number, r.name, r.block, r.first = number, string(body[:size]), nil, 0
		r.places[r.name] = before
		return nil
	}
	if number != before.number || int64(first) != r.first+int64(len(r.block)) {
		return errMap
	}
	r.first, r.block = int64(first), r.block[:0]
	for i := 0; i < size; i += crypto.IDSize {
		r.block = append(r.block, crypto.ID(body[i:i+crypto.IDSize]))
	}
	return nil
}

// hashes returns the hashes of pages first to first+n of the file that seek found, or nil where the map has not all of
// them; near the end of the file it returns fewer. Calls go forward.
func (r *mapReader) hashes(first int64, n int) []crypto.ID {
	var out []crypto.ID
	file := r.at.number
	for len(out) < n {
		at := first + int64(len(out)) - r.first
		if at >= 0 && at < int64(len(r.block)) {
			out = append(out, r.block[at:min(at+int64(n-len(out)), int64(len(r.block)))]...)
			continue
		}
		if r.lost || at < 0 {
			return nil
		}
		if !r.ahead() {
			break
		}
		if r.next(); r.at.number != file {
			break
		}
	}
	if r.lost {
		return nil
	}
	return out
}

// ahead reports whether another block follows; at the end of the map, or where a name follows, it does not.
func (r *mapReader) ahead() bool {
	b, err := r.buf.Peek(blockHead)
	return err == nil && binary.BigEndian.Uint64(b[4:]) != nameBlock
}
