package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"lifeboat/crypto"
)

// comparison finds out which pieces of a snapshot stand at the destination already: those whose bytes have the ID that the tree says.
type comparison struct {
	reuse    Reuser
	progress func(int64)
	lookers  []*looker
	open     []piece
	bytes    int64 // of open

	sized  bool
	number uint32 // of the file whose length is known
	length int64
}

// Pieces are gathered until there is work for all cores, and looked at in runs of one file.
const (
	gatherBytes  = 64 << 20
	gatherPieces = 8192
	runBytes     = 1 << 20
)

// zeros are also the most that a gathered piece of zeros has.
var zeros [1 << 20]byte

func newComparison(job Job) *comparison {
	c := &comparison{reuse: job.Reuse, progress: job.Compared}
	for range runtime.GOMAXPROCS(0) {
		c.lookers = append(c.lookers, &looker{reuse: job.Reuse, hasher: job.IDs.NewHasher()})
	}
	return c
}

// add gathers a piece, and tells whether there are enough.
func (c *comparison) add(x piece) bool {
	c.open = append(c.open, x)
	c.bytes += x.extent.Bytes
	return c.bytes >= gatherBytes || len(c.open) >= gatherPieces
}

// cut yields what has to be gathered of a piece: of zeros only as far as the file there goes, because it is zero behind that once it is
// as long as it should be.
func (c *comparison) cut(x piece) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		if !x.extent.IsZero() {
			yield(x, nil)
			return
		}
		size, err := c.size(x)
		end := min(x.at+x.extent.Bytes, size)
		for ; err == nil && x.at < end; x.at += x.extent.Bytes {
			x.extent.Bytes = min(int64(len(zeros)), end-x.at)
			if !yield(x, nil) {
				return
			}
		}
		if err != nil {
			yield(x, fmt.Errorf("compare %s: %w", x.Name, err))
		}
	}
}

// size is that of the file which stands there.
func (c *comparison) size(x piece) (int64, error) {
	if c.sized && c.number == x.number {
		return c.length, nil
	}
	file, err := c.reuse.Existing(x.File)
	if err != nil {
		return 0, err
	}
	c.sized, c.number, c.length = true, x.number, 0
	if file == nil {
		return 0, nil
	}
	info, err := file.Stat()
	if err == nil {
		c.length = info.Size()
	}
	return c.length, errors.Join(err, file.Close())
}

// part reports whether the piece is not all of its chunk: then its bytes say nothing about the ID, which is of all of them.
func (x piece) part() bool { return !x.extent.IsZero() && x.extent.Bytes != int64(x.extent.Chunk.Len) }

// run looks at all that was gathered, on all cores.
func (c *comparison) run(ctx context.Context) ([]bool, error) {
	there := make([]bool, len(c.open))
	var starts []int // of runs
	var size int64
	for i, x := range c.open {
		if i == 0 || x.number != c.open[i-1].number || size >= runBytes {
			starts, size = append(starts, i), 0
		}
		size += x.extent.Bytes
	}
	starts = append(starts, len(c.open))
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range c.lookers {
		g.Go(func() error {
			for {
				n := int(next.Add(1))
				if n >= len(starts) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				from, to := starts[n-1], starts[n]
				if err := l.look(c.open[from:to], there[from:to]); err != nil {
					return err
				}
				if c.progress != nil {
					for _, x := range c.open[from:to] {
						c.progress(x.extent.Bytes)
					}
				}
			}
		})
	}
	c.bytes = 0
	return there, g.Wait()
}

// looker compares pieces of one file after another.
type looker struct {
	reuse  Reuser
	hasher *crypto.Hasher
	buf    []byte
}

func (l *looker) look(pieces []piece, there []bool) (err error) {
	f := pieces[0].File
	file, err := l.reuse.Existing(f)
	if err != nil {
		return fmt.Errorf("compare %s: %w", f.Name, err)
	}
	if file != nil {
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	for i, x := range pieces {
		switch {
		case file == nil:
			return nil
		case !x.part():
			if there[i], err = l.same(file, x); err != nil {
				return fmt.Errorf("compare %s from byte %d: %w: restore into an empty directory, on another disk if this one fails", f.Name, x.at, err)
			}
		}
	}
	return nil
}

// same reports whether a whole piece stands in the file.
func (l *looker) same(file io.ReaderAt, x piece) (bool, error) {
	if n := int(x.extent.Bytes); cap(l.buf) < n {
		l.buf = make([]byte, n)
	}
	b := l.buf[:x.extent.Bytes]
	n, err := file.ReadAt(b, x.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if x.extent.IsZero() {
		return bytes.Equal(b[:n], zeros[:n]), nil
	}
	return n == len(b) && x.ChunkID(l.hasher, b) == x.extent.ID, nil
}
