package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"

	"github.com/pkg/sftp"

	"lifeboat/target"
)

// blockSize is what one request reads, the most that every server answers; ahead is how many are under way.
const (
	blockSize = 32 << 10
	ahead     = 64
)

func (t *Target) get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := target.CheckName(name); err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fmt.Errorf("offset %d: %w", off, fs.ErrInvalid)
	}
	if n < 0 {
		n = math.MaxInt64 - off
	}
	r := &reader{ctx: ctx, t: t, name: name, off: off}
	if err := repeat(ctx, r.open); err != nil {
		return nil, err
	}
	r.end = max(off, min(r.info.Size(), off+min(n, math.MaxInt64-off)))
	return r, nil
}

// reader reads a range of an object until its context is done. It asks for what comes next before that is wanted.
type reader struct {
	ctx      context.Context
	t        *Target
	name     string
	info     fs.FileInfo // when it was opened first
	off, end int64       // of what was not read yet

	closed  bool
	conn    *conn
	release func()
	file    *sftp.File
	asked   int64        // up to here
	blocks  []chan block // asked for, in order
	current []byte
}

type block struct {
	data []byte
	err  error
}

// open opens the object, on a connection that is kept, to go on where the reader is.
func (r *reader) open(ctx context.Context) error {
	c, release, err := r.t.acquire(ctx)
	if err != nil {
		return err
	}
	info, err := r.t.find(ctx, c, r.name)
	if err == nil && r.info != nil && (info.Size() != r.info.Size() || !info.ModTime().Equal(r.info.ModTime())) {
		err = errors.New("the object was exchanged while it was read: start again")
	}
	var f *sftp.File
	if err == nil {
		f, err = call(ctx, c, func(s *sftp.Client) (*sftp.File, error) { return s.OpenFile(r.t.at(r.name), os.O_RDONLY) })
	}
	if err != nil {
		release()
		return unreadable(err, r.t.cfg.User)
	}
	r.info, r.conn, r.release, r.file = info, c, release, f
	r.asked, r.blocks, r.current = r.off, nil, nil
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.t.wrap("get", r.name, err)
	}
	if r.closed {
		return 0, r.t.wrap("get", r.name, fs.ErrClosed)
	}
	if r.off == r.end {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.current) == 0 {
		if err := r.next(); err != nil {
			return 0, r.t.wrap("get", r.name, err)
		}
	}
	n := copy(p, r.current)
	r.current = r.current[n:]
	r.off += int64(n)
	return n, nil
}

// next waits for the next block, on a new connection if this one is lost.
func (r *reader) next() error {
	var again againError
	err := r.fetch()
	if !errors.As(err, &again) {
		return err
	}
	return repeat(r.ctx, func(ctx context.Context) error {
		r.leave()
		if err := r.open(ctx); err != nil {
			return err
		}
		return r.fetch()
	})
}

func (r *reader) fetch() error {
	for len(r.blocks) < ahead && r.asked < r.end {
		r.ask(min(blockSize, r.end-r.asked))
	}
	select {
	case b := <-r.blocks[0]:
		r.blocks = r.blocks[1:]
		r.current = b.data
		return unreadable(b.err, r.t.cfg.User)
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

func (r *reader) ask(n int64) {
	got := make(chan block, 1)
	r.blocks = append(r.blocks, got)
	c, f, off := r.conn, r.file, r.asked
	r.asked += n
	go func() {
		data := make([]byte, n)
		m, err := f.ReadAt(data, off)
		if int64(m) == n {
			err = nil
		} else if err == io.EOF {
			err = fmt.Errorf("the object became shorter while it was read: %w", io.ErrUnexpectedEOF)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			err = c.judge(err)
		}
		got <- block{data[:m], err}
	}()
}

// leave gives the connection back, without waiting for what was asked for.
func (r *reader) leave() {
	if r.release == nil {
		return
	}
	f := r.file
	go func() { _ = f.Close() }() // nothing was written
	r.release()
	r.release = nil
}

func (r *reader) Close() error {
	r.leave()
	r.closed = true
	return nil
}

// unreadable says what to do about an object that stands and cannot be read, and marks what will come again.
func unreadable(err error, user string) error {
	var status *sftp.StatusError
	switch {
	case errors.Is(err, errLink), errors.Is(err, errSpecial), errors.As(err, &status):
		return fmt.Errorf("%w: %w", target.ErrUnreadable, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: let user %s read what is there", err, user)
	}
	return err
}

func (t *Target) remove(ctx context.Context, name string) error {
	if err := target.CheckName(name); err != nil {
		return err
	}
	tried := false // an earlier attempt deleted it, or may have
	return t.retry(ctx, func(ctx context.Context, c *conn) error {
		_, err := t.find(ctx, c, name)
		if errors.Is(err, fs.ErrNotExist) && tried {
			return t.syncEntries(ctx, c, path.Dir(name))
		}
		if err == nil {
			err = do(ctx, c, func(s *sftp.Client) error { return s.Remove(t.at(name)) })
			tried = tried || err == nil || !isAnswer(err)
		}
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w: user %s may not delete: use a key or an account that may, where this one is append-only or for reading", cause(err), t.cfg.User)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// An absence is flushed, too: a lost connection may have cut short the Delete that caused it.
		if err := t.syncEntries(ctx, c, path.Dir(name)); err != nil {
			return err
		}
		return err
	})
}
