package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

const (
	stepSize    = 4 << 20 // bytes copied under one lock: a few milliseconds
	maxRestarts = 3       // of the copy in steps, before one lock over all of it
)

// errChanged says that another connection committed between two steps.
var errChanged = errors.New("the database was changed during the copy")

// openRollback copies a database that is not in WAL mode, where a reader's lock keeps writers from committing: in short
// locked steps, from the beginning when somebody committed in between, and at last under one lock of limited time.
func openRollback(ctx context.Context, ses *session, opts Options, step int) (v *view, err error) {
	tmp, err := tempFile(opts.TempDir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close())
		}
	}()
	c := copier{ses: ses, to: tmp, dir: opts.TempDir, buf: make([]byte, step)}
	err = errChanged
	for try := 0; errors.Is(err, errChanged) && try <= maxRestarts; try++ {
		err = c.inSteps(ctx)
	}
	if errors.Is(err, errChanged) {
		locked, cancel := context.WithTimeoutCause(ctx, opts.MaxLock, ErrMaxLock)
		err = c.atOnce(locked)
		cancel()
	}
	if err != nil {
		return nil, err
	}
	v = &view{ses: ses, pageSize: c.head.pageSize, pages: c.pages, how: "copy", release: tmp.Close,
		pos: snapshot.Pos{Offset: uint64(c.head.changes)}}
	v.body = func(ctx context.Context) io.Reader {
		return &pageReader{ctx: ctx, file: tmp, pageSize: v.pageSize, pages: v.pages, next: 1, last: func() error { return nil }}
	}
	return v, nil
}

// copier copies the database file while it holds SQLite's shared lock through the session.
type copier struct {
	ses   *session
	to    *os.File
	dir   string
	buf   []byte // of one step
	head  header
	pages uint32
}

// lock takes the shared lock, under which nobody writes to the file, and reads the header.
func (c *copier) lock() (header, error) {
	if err := c.ses.start(); err != nil {
		return header{}, err
	}
	h, err := readHeader(c.ses.files.db)
	if err == nil && h.wal() {
		err = errModeChanged
	}
	return h, err
}

// begin takes the lock and measures what there is to copy.
func (c *copier) begin() (err error) {
	if c.head, err = c.lock(); err != nil {
		return err
	}
	info, err := c.ses.files.db.Stat()
	if err != nil {
		return err
	}
	if c.pages, err = c.head.count(info.Size()); err != nil {
		return err
	}
	c.ses.info = info
	return checkSpace(c.dir, c.size())
}

func (c *copier) size() int64 { return int64(c.pages) * int64(c.head.pageSize) }

// inSteps returns errChanged when the file change counter, or anything else in the header, is not what it was.
func (c *copier) inSteps(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, c.ses.stop()) }()
	if err := c.begin(); err != nil {
		return err
	}
	for off := int64(0); off < c.size(); off += int64(len(c.buf)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if off > 0 {
			h, err := c.lock()
			if err != nil {
				return err
			}
			if h.raw != c.head.raw {
				return errChanged
			}
		}
		b, err := c.read(off)
		if err != nil {
			return err
		}
		if err := c.ses.stop(); err != nil { // and write without the lock: the other disk may be slow
			return err
		}
		if err := c.write(b, off); err != nil {
			return err
		}
	}
	return nil
}

// atOnce copies all of it under one lock, until ctx is done.
func (c *copier) atOnce(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, c.ses.stop()) }()
	if err := c.begin(); err != nil {
		return err
	}
	for off := int64(0); off < c.size(); off += int64(len(c.buf)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := c.read(off)
		if err != nil {
			return err
		}
		if err := c.write(b, off); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) read(off int64) ([]byte, error) {
	b := c.buf[:min(int64(len(c.buf)), c.size()-off)]
	if _, err := c.ses.files.db.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("read %d bytes at %d: %w", len(b), off, err)
	}
	return b, nil
}

func (c *copier) write(b []byte, off int64) error {
	_, err := c.to.WriteAt(b, off)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w in %s: %w", ErrNoSpace, c.dir, err)
	}
	if err != nil {
		return fmt.Errorf("write temporary copy in %s: %w", c.dir, err)
	}
	return nil
}

// tempFile makes a file that only this process can open and that is gone with it.
func tempFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "lifeboat-*.tmp") // with mode 0600
	if err != nil {
		return nil, fmt.Errorf("create temporary copy: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink temporary copy: %w", err), f.Close())
	}
	return f, nil
}

// freeSpace is how many bytes this user may still write in dir.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("measure free space in %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func checkSpace(dir string, need int64) error {
	free, err := freeSpace(dir)
	if err == nil && free < need {
		err = fmt.Errorf("%w: %s has %d bytes free, the copy needs %d", ErrNoSpace, dir, free, need)
	}
	return err
}
