package mysql

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
)

// archive reads the format in which mariadb-backup streams files: chunks of several files, mixed. One file at a time is passed through; what comes of
// others meanwhile waits in unlinked temporary files.
//
// A chunk is: "XBSTCK01", flags (1 byte), type (1), length of the path (4), path; for type P also the length of the payload (8), its offset in the file (8),
// its CRC-32 (4), payload. Type E ends a file. Numbers are little-endian.
type archive struct {
	in   *bufio.Reader
	temp string

	current string // file that is passed through; empty: none
	at      int64  // in it
	left    int64  // of the chunk at hand
	sum     uint32 // of what was read of it
	want    uint32

	aside map[string]*aside
	ready []*aside // complete
}

// aside is a file that waits.
type aside struct {
	name string
	size int64
	file *os.File
}

// Limits of what is read of a stream, bytes.
const (
	magic      = "XBSTCK01"
	maxPath    = 4096
	maxPayload = 1 << 40
)

// errArchive is wrapped where a stream is not in its format.
var errArchive = errors.New("the stream of the backup program is damaged")

func newArchive(r io.Reader, temp string) *archive {
	return &archive{in: bufio.NewReaderSize(r, 256<<10), temp: temp, aside: map[string]*aside{}}
}

// waits reports whether a file comes piece by piece while others do.
func waits(name string) bool { return strings.HasPrefix(name, "ib_logfile") }

// next goes to the next file, whose size is -1 where it is not known yet; io.EOF at the end. The file before must have been read to its end.
func (a *archive) next() (name string, size int64, body io.Reader, err error) {
	if a.current != "" {
		return "", 0, nil, fmt.Errorf("%s was not read to its end", a.current)
	}
	for len(a.ready) == 0 {
		c, err := a.chunk()
		switch {
		case errors.Is(err, io.EOF):
			for name := range a.aside {
				return "", 0, nil, fmt.Errorf("%w: it ends within %s", errArchive, name)
			}
			return "", 0, nil, io.EOF
		case err != nil:
			return "", 0, nil, err
		case c.end && a.aside[c.name] == nil:
			return c.name, 0, strings.NewReader(""), nil
		case !c.end && a.aside[c.name] == nil && !waits(c.name):
			if c.offset != 0 {
				return "", 0, nil, fmt.Errorf("%w: %s begins at byte %d", errArchive, c.name, c.offset)
			}
			a.current, a.at = c.name, 0
			a.begin(c)
			return c.name, -1, current{a}, nil
		}
		if err := a.keep(c); err != nil {
			return "", 0, nil, err
		}
	}
	f := a.ready[0]
	a.ready = a.ready[1:]
	if f.size == 0 {
		return f.name, 0, strings.NewReader(""), f.file.Close()
	}
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return "", 0, nil, errors.Join(err, f.file.Close())
	}
	return f.name, f.size, &waited{f.file, f.size}, nil
}

// waited is a file that waited; it closes at its end.
type waited struct {
	file *os.File
	left int64
}

func (w *waited) Read(b []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	n, err := w.file.Read(b[:min(int64(len(b)), w.left)])
	if w.left -= int64(n); w.left == 0 {
		return n, w.file.Close()
	}
	if err != nil {
		return n, errors.Join(noEOF(err), w.file.Close())
	}
	return n, nil
}

// noEOF is an error within a file.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// current passes a file through.
type current struct{ a *archive }

func (c current) Read(b []byte) (int, error) {
	a := c.a
	for a.left == 0 {
		if a.current == "" {
			return 0, io.EOF
		}
		c, err := a.chunk()
		switch {
		case errors.Is(err, io.EOF):
			return 0, fmt.Errorf("%w: it ends within %s", errArchive, a.current)
		case err != nil:
			return 0, err
		case c.name != a.current:
			if err := a.keep(c); err != nil {
				return 0, err
			}
		case c.end:
			a.current = ""
		case c.offset != a.at:
			return 0, fmt.Errorf("%w: byte %d of %s follows byte %d", errArchive, c.offset, c.name, a.at)
		default:
			a.begin(c)
		}
	}
	n, err := a.payload(b)
	a.at += int64(n)
	return n, err
}

// chunk is the head of one.
type chunk struct {
	name         string
	end          bool // of the file
	size, offset int64
	sum          uint32
}

// chunk reads the head of the next one; io.EOF between two.
func (a *archive) chunk() (c chunk, err error) {
	var head [20]byte
	if _, err := io.ReadFull(a.in, head[:14]); err != nil {
		if errors.Is(err, io.EOF) {
			return c, io.EOF
		}
		return c, cut(err)
	}
	kind, length := head[9], binary.LittleEndian.Uint32(head[10:])
	switch {
	case string(head[:8]) != magic:
		return c, fmt.Errorf("%w: no chunk begins where one should", errArchive)
	case kind != 'P' && kind != 'E':
		return c, fmt.Errorf("%w: a chunk of type %q, which is not known", errArchive, kind)
	case length == 0 || length > maxPath:
		return c, fmt.Errorf("%w: a name of %d bytes", errArchive, length)
	}
	name := make([]byte, length)
	if _, err := io.ReadFull(a.in, name); err != nil {
		return c, cut(err)
	}
	c.name, c.end = strings.TrimPrefix(string(name), "./"), kind == 'E'
	if c.end {
		return c, nil
	}
	if _, err := io.ReadFull(a.in, head[:20]); err != nil {
		return c, cut(err)
	}
	size, at := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint64(head[8:])
	if size > maxPayload || at > 1<<62 {
		return c, fmt.Errorf("%w: %d bytes at byte %d of %s", errArchive, size, at, c.name)
	}
	c.size, c.offset, c.sum = int64(size), int64(at), binary.LittleEndian.Uint32(head[16:])
	return c, nil
}

// cut is why a stream could not be read in the middle of a chunk.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within a chunk", errArchive)
	}
	return fmt.Errorf("read the stream of the backup program: %w", err)
}

func (a *archive) begin(c chunk) { a.left, a.sum, a.want = c.size, 0, c.sum }

// payload reads on in the chunk at hand, which is checked at its end.
func (a *archive) payload(b []byte) (int, error) {
	n, err := a.in.Read(b[:min(int64(len(b)), a.left)])
	a.sum = crc32.Update(a.sum, crc32.IEEETable, b[:n])
	a.left -= int64(n)
	if err != nil {
		return n, cut(err)
	}
	if a.left == 0 && a.sum != a.want {
		return n, fmt.Errorf("%w: a chunk does not match its checksum", errArchive)
	}
	return n, nil
}

// keep puts a chunk aside.
func (a *archive) keep(c chunk) error {
	f := a.aside[c.name]
	if f == nil {
		file, err := os.CreateTemp(a.temp, "stream-*") // mode 0600
		if err != nil {
			return fmt.Errorf("keep %s: %w", c.name, err)
		}
		f = &aside{name: c.name, file: file}
		a.aside[c.name] = f
		if err := os.Remove(file.Name()); err != nil {
			return fmt.Errorf("keep %s: %w", c.name, err)
		}
	}
	if c.end {
		delete(a.aside, c.name)
		a.ready = append(a.ready, f)
		return nil
	}
	if c.offset != f.size {
		return fmt.Errorf("%w: byte %d of %s follows byte %d", errArchive, c.offset, c.name, f.size)
	}
	a.begin(c)
	n, err := io.Copy(f.file, io.LimitReader(chunkReader{a}, c.size))
	f.size += n
	switch {
	case err != nil:
		return fmt.Errorf("keep %s: %w", c.name, err)
	case a.left > 0:
		return fmt.Errorf("%w: it ends within %s", errArchive, c.name)
	}
	return nil
}

// chunkReader is the payload of the chunk at hand.
type chunkReader struct{ a *archive }

func (r chunkReader) Read(b []byte) (int, error) {
	if r.a.left == 0 {
		return 0, io.EOF
	}
	return r.a.payload(b)
}

// close gives up what waits.
func (a *archive) close() {
	for _, f := range a.aside {
		_ = f.file.Close() // it has no name
	}
	for _, f := range a.ready {
		_ = f.file.Close()
	}
}
