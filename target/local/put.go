package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"lifeboat/target"
)

// copyUnit bounds what is written between two looks at the context.
const copyUnit = 256 << 10

func (t *Target) put(ctx context.Context, name string, body *io.SectionReader, replace bool) error {
	if err := target.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, base := path.Dir(name), path.Base(name)
	d, err := t.makeDir(dir)
	if err != nil {
		return err
	}
	defer release(d)
	err = t.create(ctx, d, base, body, replace)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Who hears that the object exists relies on it, so it has to be durable then, too: the Put that made it may
	// have been cut short, or not be there yet.
	if err := t.syncDir(d, dir); err != nil {
		return err
	}
	return err
}

// create makes base in d, whole and flushed, but leaves the flushing of d to its caller.
func (t *Target) create(ctx context.Context, d *os.Root, base string, body *io.SectionReader, replace bool) (err error) {
	if _, err := d.Lstat(base); err == nil && !replace {
		return fs.ErrExist
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp, err := t.makeDir(tempDir)
	if err != nil {
		return err
	}
	defer release(tmp)
	temp := rand.Text()
	f, err := tmp.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if rmErr := tmp.Remove(temp); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove unfinished object: %w", cause(rmErr)))
		}
	}()
	err = fill(ctx, f, body)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	return place(tmp, temp, d, base, replace)
}

// fill copies the whole of body to f and flushes it. Nothing is written once ctx is done.
func fill(ctx context.Context, f *os.File, body *io.SectionReader) error {
	buf := make([]byte, min(body.Size(), copyUnit))
	for off := int64(0); off < body.Size(); {
		n, err := body.ReadAt(buf[:min(body.Size()-off, copyUnit)], off)
		if n == 0 && err == io.EOF {
			return fmt.Errorf("body ends after %d of %d bytes: %w", off, body.Size(), io.ErrUnexpectedEOF)
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("read body: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.Sync()
}
