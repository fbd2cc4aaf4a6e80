package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"syscall"

	"lifeboat/target"
)

func (t *Target) get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := target.CheckName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fmt.Errorf("offset %d: %w", off, fs.ErrInvalid)
	}
	d, err := t.openDir(path.Dir(name))
	if err != nil {
		return nil, absent(err)
	}
	defer release(d)
	f, err := openRegular(d, path.Base(name))
	if err != nil {
		return nil, unreadable(absent(err))
	}
	if n < 0 {
		n = math.MaxInt64 - off
	}
	return &reader{ctx: ctx, t: t, name: name, section: io.NewSectionReader(f, off, n), file: f}, nil
}

// openRegular opens a file for reading, but neither follows a link nor waits on a named pipe.
func openRegular(d *os.Root, base string) (*os.File, error) {
	was, err := statRegular(d, base)
	if err != nil {
		return nil, err
	}
	f, err := d.OpenFile(base, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	is, err := f.Stat()
	if err == nil && !os.SameFile(was, is) {
		err = errSpecial
	}
	if err != nil {
		release(f)
		return nil, err
	}
	return f, nil
}

// statRegular describes the object base in d. A directory is no object, so it counts as absent.
func statRegular(d *os.Root, base string) (fs.FileInfo, error) {
	info, err := d.Lstat(base)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fs.ErrNotExist
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, errLink
	case !info.Mode().IsRegular():
		return nil, errSpecial
	}
	return info, nil
}

// absent turns the ways in which a file system says that a name leads nowhere into fs.ErrNotExist.
func absent(err error) error {
	for _, e := range []error{fs.ErrNotExist, syscall.ENOTDIR, syscall.ENAMETOOLONG} {
		if errors.Is(err, e) {
			return fs.ErrNotExist
		}
	}
	return err
}

// unreadable marks the errors that will come again.
func unreadable(err error) error {
	if errors.Is(err, syscall.EIO) || errors.Is(err, errLink) || errors.Is(err, errSpecial) {
		return fmt.Errorf("%w: %w", target.ErrUnreadable, err)
	}
	return err
}

// reader reads a range of an object until its context is done.
type reader struct {
	ctx     context.Context
	t       *Target
	name    string
	section *io.SectionReader
	file    *os.File
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.t.fail("get", r.name, err)
	}
	n, err := r.section.Read(p)
	if err != nil && err != io.EOF {
		err = r.t.fail("get", r.name, unreadable(err))
	}
	return n, err
}

func (r *reader) Close() error { return r.file.Close() }

func (t *Target) remove(ctx context.Context, name string) error {
	if err := target.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := t.openDir(path.Dir(name))
	if err != nil {
		return absent(err)
	}
	defer release(d)
	base := path.Base(name)
	if _, err = statRegular(d, base); err == nil {
		err = d.Remove(base)
	}
	if err = absent(err); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// An absence is flushed, too: a crash may have cut short the Delete that caused it.
	if err := fsync(d); err != nil {
		return err
	}
	return err
}
