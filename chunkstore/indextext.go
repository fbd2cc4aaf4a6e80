package chunkstore

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"lifeboat/crypto"
)

const (
	indexMagic    = "lifeboat index 1"
	maxIndex      = 1 << 30
	maxIndexBytes = 256 << 20 // as stored
)

// IndexWriter makes the index object of packs one after another: only their compressed lines are in memory.
type IndexWriter struct {
	stored bytes.Buffer
	enc    *zstd.Encoder
	line   []byte
}

// NewIndexWriter begins an index.
func NewIndexWriter() (*IndexWriter, error) {
	w := &IndexWriter{}
	var err error
	if w.enc, err = zstd.NewWriter(&w.stored, zstd.WithEncoderConcurrency(1)); err == nil {
		_, err = w.enc.Write([]byte(indexMagic + "\n"))
	}
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	return w, nil
}

// Add adds the lines of a pack.
func (w *IndexWriter) Add(p Pack) error {
	w.line = fmt.Appendf(w.line[:0], "pack %s %d\n", p.Digest, p.Size)
	for _, f := range p.Frames {
		w.line = appendFrame(w.line, f)
	}
	if _, err := w.enc.Write(w.line); err != nil {
		return fmt.Errorf("encode index: %w", err)
	}
	return nil
}

// Finish returns the object.
func (w *IndexWriter) Finish() ([]byte, error) {
	if err := w.enc.Close(); err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	return w.stored.Bytes(), nil
}

// appendFrame appends the line of a frame.
func appendFrame(b []byte, f Frame) []byte {
	b = append(hex.AppendEncode(b, f.ID[:]), ' ')
	b = append(strconv.AppendInt(b, f.Off, 10), ' ')
	return append(strconv.AppendInt(b, int64(f.Len), 10), '\n')
}

// EncodeIndex makes the index object of packs.
func EncodeIndex(packs []Pack) ([]byte, error) {
	w, err := NewIndexWriter()
	if err != nil {
		return nil, err
	}
	for _, p := range packs {
		if err := w.Add(p); err != nil {
			return nil, err
		}
	}
	return w.Finish()
}

// DecodeIndex is the inverse of EncodeIndex for bytes from outside.
func DecodeIndex(stored []byte) (packs []Pack, err error) {
	err = decodeIndex(stored, func(p Pack) error {
		packs = append(packs, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return packs, nil
}

// decodeIndex calls each for one pack after another. What came before an error must not be used.
func decodeIndex(stored []byte, each func(Pack) error) error {
	r, err := zstd.NewReader(bytes.NewReader(stored), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxIndex), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return fmt.Errorf("decode index: %w: %w", crypto.ErrDamaged, err)
	}
	defer r.Close()
	var open []Pack // the one that is being read, if there is one
	read, first := 0, true
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if read += len(line) + 1; read > maxIndex {
			return fmt.Errorf("decode index: longer than %d bytes: %w", maxIndex, crypto.ErrDamaged)
		}
		if first {
			if first = false; line != indexMagic {
				return fmt.Errorf("decode index: first line %.40q: %w", line, crypto.ErrDamaged)
			}
			continue
		}
		if open, err = appendLine(open, line); err != nil {
			return fmt.Errorf("decode index: %w", err)
		}
		if len(open) == 2 {
			if err := each(open[0]); err != nil {
				return err
			}
			open[0], open = open[1], open[:1]
		}
	}
	if err := lines.Err(); err != nil || first {
		return fmt.Errorf("decode index: %w: %w", crypto.ErrDamaged, cmp.Or(err, fmt.Errorf("empty")))
	}
	if len(open) == 1 {
		return each(open[0])
	}
	return nil
}

func appendLine(packs []Pack, line string) ([]Pack, error) {
	bad := fmt.Errorf("line %.100q: %w", line, crypto.ErrDamaged)
	f := strings.Split(line, " ")
	if len(f) != 3 {
		return nil, bad
	}
	if f[0] == "pack" {
		size, err := strconv.ParseInt(f[2], 10, 64)
		if _, herr := hex.DecodeString(f[1]); err != nil || herr != nil || len(f[1]) != 64 || f[1] != strings.ToLower(f[1]) || size < 0 || size > maxPack {
			return nil, bad
		}
		return append(packs, Pack{Digest: f[1], Size: size}), nil
	}
	if len(packs) == 0 {
		return nil, bad
	}
	p := &packs[len(packs)-1]
	id, err := crypto.ParseID(f[0])
	if err != nil {
		return nil, bad
	}
	off, err1 := strconv.ParseInt(f[1], 10, 64)
	n, err2 := strconv.Atoi(f[2])
	if err1 != nil || err2 != nil || off < 0 || n <= 0 || n > crypto.MaxSealed || off > p.Size-int64(n) {
		return nil, bad
	}
	if k := len(p.Frames); k > 0 && off < p.Frames[k-1].Off+int64(p.Frames[k-1].Len) {
		return nil, fmt.Errorf("frames overlap, %w", bad)
	}
	p.Frames = append(p.Frames, Frame{ID: id, Off: off, Len: n})
	return packs, nil
}
