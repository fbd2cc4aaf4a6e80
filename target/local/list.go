package local

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"lifeboat/target"
)

// readUnit is how many entries are read from a directory at a time.
const readUnit = 1024

// errStop ends a listing that its consumer broke off.
var errStop = errors.New("listing stopped")

type entry struct {
	name  string // below its directory
	isDir bool
	size  int64
	mod   time.Time
}

// key makes entries sort as the full names do: all names below a directory begin with its own and a slash, so that
// a-b and a.b come before a/b, and a0 after it.
func (e entry) key() string {
	if e.isDir {
		return e.name + "/"
	}
	return e.name
}

func (t *Target) list(ctx context.Context, prefix string, yield func(target.Info, error) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, begin, ok := target.SplitPrefix(prefix)
	if !ok {
		return nil
	}
	d, err := t.openDir(dir)
	if err == nil {
		err = walk(ctx, d, dir, begin, yield)
		release(d)
	} else {
		err = absent(err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	// An empty answer about a directory that was taken away would read as the loss of every object.
	if err == nil && t.gone() {
		err = errGone
	}
	return err
}

// walk yields the objects in the directory dir, opened as d, whose names continue with begin, and those below it.
func walk(ctx context.Context, d *os.Root, dir, begin string, yield func(target.Info, error) bool) error {
	entries, err := read(ctx, d, dir, begin)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.isDir {
			if !yield(target.Info{Name: path.Join(dir, e.name), Size: e.size, ModTime: e.mod}, nil) {
				return errStop
			}
			continue
		}
		sub, err := enter(d, e.name)
		if err == nil {
			err = walk(ctx, sub, path.Join(dir, e.name), "", yield)
			release(sub)
		} else {
			err = absent(err)
		}
		// What was a directory a moment ago may be gone by now, and takes nothing with it but its own objects.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// read returns the objects and directories in d whose names begin with begin, in the order of their full names.
func read(ctx context.Context, d *os.Root, dir, begin string) ([]entry, error) {
	f, err := d.Open(".")
	if err != nil {
		return nil, err
	}
	defer release(f)
	var entries []entry
	for {
		names, err := f.Readdirnames(readUnit)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !strings.HasPrefix(name, begin) || target.CheckName(path.Join(dir, name)) != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			info, err := d.Lstat(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if info.IsDir() || info.Mode().IsRegular() {
				entries = append(entries, entry{name, info.IsDir(), info.Size(), info.ModTime()})
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key(), b.key()) })
	return entries, nil
}
