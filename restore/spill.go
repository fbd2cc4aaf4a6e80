package restore

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/snapshot"
)

// A plan has a step per extent: millions for a terabyte. So steps are sorted in runs of bounded size, which are spilled to
// a file beside the destination and merged while the restore goes.
const (
	runSteps = 1 << 17 // about 13 MB
	stepSize = 4 + 4 + 4 + 4 + 4 + 4 + 4 + 8 + 2*crypto.IDSize
)

func (s step) compare(o step) int {
	return cmp.Or(cmp.Compare(s.pack, o.pack), cmp.Compare(s.off, o.off), cmp.Compare(s.extent.Chunk.Off, o.extent.Chunk.Off),
		cmp.Compare(s.file, o.file), cmp.Compare(s.at, o.at))
}

func (s step) append(b []byte) []byte {
	for _, n := range []uint32{s.pack, s.off, uint32(s.extent.Chunk.Off), uint32(s.extent.Chunk.Len), uint32(s.extent.Skip), uint32(s.extent.Bytes), s.file} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(s.at))
	b = append(b, s.extent.Chunk.Frame[:]...)
	return append(b, s.extent.ID[:]...)
}

func parseStep(b []byte) step {
	n := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	s := step{pack: n(0), off: n(1), file: n(6), at: int64(binary.LittleEndian.Uint64(b[28:]))}
	s.extent = snapshot.Extent{Chunk: chunkstore.Loc{Off: int(n(2)), Len: int(n(3))}, Skip: int(n(4)), Bytes: int64(n(5))}
	copy(s.extent.Chunk.Frame[:], b[36:])
	copy(s.extent.ID[:], b[36+crypto.IDSize:])
	return s
}

// spill collects steps and gives them back in the order of compare.
type spill struct {
	dir  string
	file *os.File
	at   int64
	runs []io.Reader
	open []step
}

func (s *spill) add(st step) error {
	s.open = append(s.open, st)
	if len(s.open) < runSteps {
		return nil
	}
	return s.flush()
}

func (s *spill) flush() error {
	if s.file == nil {
		f, err := os.OpenFile(filepath.Join(s.dir, "plan"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("spill the plan: %w", err)
		}
		s.file = f
	}
	slices.SortFunc(s.open, step.compare)
	w := bufio.NewWriterSize(s.file, 256<<10)
	var b []byte
	for _, st := range s.open {
		b = st.append(b[:0])
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("spill the plan: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("spill the plan: %w", err)
	}
	n := int64(len(s.open)) * stepSize
	s.runs = append(s.runs, io.NewSectionReader(s.file, s.at, n))
	s.at += n
	s.open = s.open[:0]
	return nil
}

// each yields all steps in order.
func (s *spill) each(yield func(step) error) error {
	if s.file == nil {
		slices.SortFunc(s.open, step.compare)
		for _, st := range s.open {
			if err := yield(st); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	h := make(runs, 0, len(s.runs))
	for _, r := range s.runs {
		n := &run{r: bufio.NewReaderSize(r, 64<<10)}
		if err := n.advance(); err == nil {
			h = append(h, n)
		} else if !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the plan: %w", err)
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := yield(h[0].head); err != nil {
			return err
		}
		switch err := h[0].advance(); {
		case errors.Is(err, io.EOF):
			heap.Pop(&h)
		case err != nil:
			return fmt.Errorf("read the plan: %w", err)
		default:
			heap.Fix(&h, 0)
		}
	}
	return nil
}

// frameSteps is how many steps of one frame are worked off at once; a chunk that a snapshot uses a million times is
// decoded more than once.
const frameSteps = 4096

// frames yields all steps in order, those of a frame together.
func (s *spill) frames(yield func(frame crypto.ID, steps []step) error) error {
	var open []step
	send := func() error {
		if len(open) == 0 {
			return nil
		}
		steps := open
		open = nil
		return yield(steps[0].extent.Chunk.Frame, steps)
	}
	err := s.each(func(st step) error {
		if len(open) == frameSteps || len(open) > 0 && open[0].extent.Chunk.Frame != st.extent.Chunk.Frame {
			if err := send(); err != nil {
				return err
			}
		}
		open = append(open, st)
		return nil
	})
	if err != nil {
		return err
	}
	return send()
}

// close removes the spilled plan.
func (s *spill) close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// run is one sorted run on its way through the merge.
type run struct {
	r    *bufio.Reader
	head step
	buf  [stepSize]byte
}

func (r *run) advance() error {
	if _, err := io.ReadFull(r.r, r.buf[:]); err != nil {
		return err
	}
	r.head = parseStep(r.buf[:])
	return nil
}

type runs []*run

func (h runs) Len() int           { return len(h) }
func (h runs) Less(i, j int) bool { return h[i].head.compare(h[j].head) < 0 }
func (h runs) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runs) Push(any)          {} // never: a merge only shrinks
func (h *runs) Pop() any {
	old := *h
	*h = old[:len(old)-1]
	return old[len(old)-1]
}
