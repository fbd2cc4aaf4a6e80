package snapshot

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

// Extent is a stretch of a file: Bytes bytes of a chunk from Skip on, or zeros.
type Extent struct {
	Chunk chunkstore.Loc // zero for a run of zeros
	ID    crypto.ID
	Skip  int
	Bytes int64
}

// IsZero reports whether the extent is a run of zeros.
func (e Extent) IsZero() bool { return e.Chunk.Len == 0 }

const (
	extentsMagic = "lifeboat extents 1"
	maxNode      = 4 << 20
)

// encodeExtents makes an extents node.
func encodeExtents(extents []Extent) []byte {
	b := append([]byte(extentsMagic), '\n')
	frames := map[crypto.ID]int{}
	for _, e := range extents {
		if e.IsZero() {
			b = strconv.AppendInt(append(b, "z "...), e.Bytes, 10)
			b = append(b, '\n')
			continue
		}
		n, ok := frames[e.Chunk.Frame]
		if !ok {
			n = len(frames)
			frames[e.Chunk.Frame] = n
			b = append(append(b, "f "...), e.Chunk.Frame.String()...)
			b = append(b, '\n')
		}
		part := e.Skip != 0 || e.Bytes != int64(e.Chunk.Len)
		b = append(b, 'd', ' ')
		if part {
			b[len(b)-2] = 'p'
		}
		b = strconv.AppendInt(b, int64(n), 10)
		b = strconv.AppendInt(append(b, ' '), int64(e.Chunk.Off), 10)
		b = strconv.AppendInt(append(b, ' '), int64(e.Chunk.Len), 10)
		b = append(append(b, ' '), e.ID.String()...)
		if part {
			b = strconv.AppendInt(append(b, ' '), int64(e.Skip), 10)
			b = strconv.AppendInt(append(b, ' '), e.Bytes, 10)
		}
		b = append(b, '\n')
	}
	return b
}

// decodeExtents reads an extents node that covers size bytes.
func decodeExtents(node []byte, size int64) ([]Extent, error) {
	first, rest, _ := bytes.Cut(node, []byte("\n"))
	if string(first) != extentsMagic || len(node) > maxNode {
		return nil, fmt.Errorf("read extents: not an extents node of version 1: %w", crypto.ErrDamaged)
	}
	var frames []crypto.ID
	var out []Extent
	for line := range bytes.Lines(rest) {
		text := string(bytes.TrimSuffix(line, []byte("\n")))
		if id, ok := strings.CutPrefix(text, "f "); ok {
			frame, err := crypto.ParseID(id)
			if err != nil {
				return nil, fmt.Errorf("read extents: %w: %w", crypto.ErrDamaged, err)
			}
			frames = append(frames, frame)
			continue
		}
		e, err := decodeExtent(text, frames)
		if err != nil {
			return nil, fmt.Errorf("read extents: line %.120q: %w: %w", text, crypto.ErrDamaged, err)
		}
		if size -= e.Bytes; size < 0 {
			return nil, fmt.Errorf("read extents: they cover more than they should: %w", crypto.ErrDamaged)
		}
		out = append(out, e)
	}
	if size != 0 {
		return nil, fmt.Errorf("read extents: they leave %d bytes uncovered: %w", size, crypto.ErrDamaged)
	}
	return out, nil
}

func decodeExtent(line string, frames []crypto.ID) (e Extent, err error) {
	f := strings.Split(line, " ")
	if len(f) == 2 && f[0] == "z" {
		e.Bytes, err = strconv.ParseInt(f[1], 10, 64)
		if err == nil && e.Bytes <= 0 {
			err = strconv.ErrRange
		}
		return e, err
	}
	if (f[0] != "d" || len(f) != 5) && (f[0] != "p" || len(f) != 7) {
		return e, strconv.ErrSyntax
	}
	frame, err := number(f[1], 0, len(frames)-1)
	if err != nil {
		return e, err
	}
	e.Chunk.Frame = frames[frame]
	if e.Chunk.Off, err = number(f[2], 0, crypto.MaxFrame); err != nil {
		return e, err
	}
	if e.Chunk.Len, err = number(f[3], 1, crypto.MaxFrame-e.Chunk.Off); err != nil {
		return e, err
	}
	if e.ID, err = crypto.ParseID(f[4]); err != nil {
		return e, err
	}
	e.Bytes = int64(e.Chunk.Len)
	if f[0] == "p" {
		if e.Skip, err = number(f[5], 0, e.Chunk.Len-1); err != nil {
			return e, err
		}
		n, err := number(f[6], 1, e.Chunk.Len-e.Skip)
		if err != nil {
			return e, err
		}
		e.Bytes = int64(n)
	}
	return e, nil
}

// number parses a decimal between least and most.
func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err == nil && (n < least || n > most) {
		err = strconv.ErrRange
	}
	return n, err
}

// appendExtent appends e to out, joined with the last extent where it continues it.
func appendExtent(out []Extent, e Extent) []Extent {
	if e.Bytes == 0 {
		return out
	}
	if n := len(out); n > 0 {
		l := &out[n-1]
		if l.IsZero() && e.IsZero() || l.Chunk == e.Chunk && !e.IsZero() && int64(l.Skip)+l.Bytes == int64(e.Skip) {
			l.Bytes += e.Bytes
			return out
		}
	}
	return append(out, e)
}

// cutExtents returns the part of extents from byte from to byte to.
func cutExtents(out, extents []Extent, from, to int64) []Extent {
	var at int64
	for _, e := range extents {
		end := at + e.Bytes
		lo, hi := max(at, from), min(end, to)
		if lo < hi {
			part := e
			part.Bytes = hi - lo
			if !e.IsZero() {
				part.Skip += int(lo - at)
			}
			out = appendExtent(out, part)
		}
		at = end
	}
	return out
}
