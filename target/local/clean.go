package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Clean removes unfinished objects that were last written before olderThan, by the clock of the file system. A Put
// that is still at work on one of them fails, so leave more time than the slowest Put takes between two writes.
func (t *Target) Clean(ctx context.Context, olderThan time.Time) error {
	if err := t.clean(ctx, olderThan); err != nil {
		return fmt.Errorf("remove unfinished objects in %s: %w", t.path, t.reason(err))
	}
	return nil
}

func (t *Target) clean(ctx context.Context, olderThan time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := t.openDir(tempDir)
	if errors.Is(err, fs.ErrNotExist) && !t.gone() {
		return nil
	}
	if err != nil {
		return err
	}
	defer release(d)
	f, err := d.Open(".")
	if err != nil {
		return err
	}
	defer release(f)
	names, err := f.Readdirnames(-1)
	if err != nil && err != io.EOF {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Lstat(name)
		if err == nil && info.Mode().IsRegular() && info.ModTime().Before(olderThan) {
			err = d.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
