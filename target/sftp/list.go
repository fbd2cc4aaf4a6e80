package sftp

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pkg/sftp"

	"lifeboat/target"
)

// readAhead is how many directories of a level are read before they are wanted.
const readAhead = 16

// errStop ends a listing that its consumer broke off.
var errStop = errors.New("listing stopped")

// key makes entries sort as the full names do: all names below a directory begin with its own and a slash, so that
// a-b and a.b come before a/b, and a0 after it.
func key(e fs.FileInfo) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (t *Target) list(ctx context.Context, prefix string, yield func(target.Info, error) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, begin, ok := target.SplitPrefix(prefix)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what was read ahead
	return t.walk(ctx, dir, t.read(ctx, dir, begin), yield)
}

// listing is what a directory holds, once it is read.
type listing struct {
	entries []fs.FileInfo
	err     error
}

// read begins to read the directory dir: its objects and directories whose names continue with begin, in the order of their
// full names. An absent directory holds nothing.
func (t *Target) read(ctx context.Context, dir, begin string) <-chan listing {
	got := make(chan listing, 1)
	go func() {
		var l listing
		l.err = t.retry(ctx, func(ctx context.Context, c *conn) (err error) {
			l.entries, err = t.entries(ctx, c, dir, begin)
			return err
		})
		got <- l
	}()
	return got
}

func (t *Target) entries(ctx context.Context, c *conn, dir, begin string) ([]fs.FileInfo, error) {
	names := way(dir)
	if dir == "." {
		names = names[:1]
	}
	infos, err := t.lstat(ctx, c, names...)
	if err != nil {
		return nil, err
	}
	for i, info := range infos {
		// An empty answer about a directory that was taken away would read as the loss of every object.
		if i == 0 && info == nil {
			return nil, errGone
		}
		if err := absent(passable(info)); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	all, err := call(ctx, c, func(s *sftp.Client) ([]fs.FileInfo, error) { return s.ReadDirContext(ctx, t.at(dir)) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err, t.cfg.User)
	}
	var out []fs.FileInfo
	for _, e := range all {
		if strings.HasPrefix(e.Name(), begin) && target.CheckName(path.Join(dir, e.Name())) == nil && (e.IsDir() || e.Mode().IsRegular()) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b fs.FileInfo) int { return cmp.Compare(key(a), key(b)) })
	return out, nil
}

// walk yields the objects in the directory dir and below it.
func (t *Target) walk(ctx context.Context, dir string, got <-chan listing, yield func(target.Info, error) bool) error {
	var l listing
	select {
	case l = <-got:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.err != nil {
		return l.err
	}
	var dirs []string
	for _, e := range l.entries {
		if e.IsDir() {
			dirs = append(dirs, path.Join(dir, e.Name()))
		}
	}
	var ahead []<-chan listing
	for _, e := range l.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(dir, e.Name())
		if !e.IsDir() {
			if !yield(target.Info{Name: name, Size: e.Size(), ModTime: e.ModTime()}, nil) {
				return errStop
			}
			continue
		}
		for len(ahead) < readAhead && len(dirs) > 0 {
			ahead = append(ahead, t.read(ctx, dirs[0], ""))
			dirs = dirs[1:]
		}
		sub := ahead[0]
		ahead = ahead[1:]
		if err := t.walk(ctx, name, sub, yield); err != nil {
			return err
		}
	}
	return nil
}
