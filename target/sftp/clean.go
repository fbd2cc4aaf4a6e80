package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pkg/sftp"
)

// Clean removes unfinished objects that were last written before olderThan, by the clock of the host. A Put that is still
// at work on one of them begins anew.
func (t *Target) Clean(ctx context.Context, olderThan time.Time) error {
	err := t.retry(ctx, func(ctx context.Context, c *conn) error { return t.clean(ctx, c, olderThan) })
	if err != nil {
		return fmt.Errorf("remove unfinished objects in %s: %w", t.place, cause(err))
	}
	return nil
}

func (t *Target) clean(ctx context.Context, c *conn, olderThan time.Time) error {
	infos, err := t.lstat(ctx, c, ".", tempDir)
	if err != nil {
		return err
	}
	if infos[0] == nil {
		return errGone
	}
	if err := passable(infos[1]); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("directory %s: %w", tempDir, err)
	}
	all, err := call(ctx, c, func(s *sftp.Client) ([]fs.FileInfo, error) { return s.ReadDirContext(ctx, t.at(tempDir)) })
	if err != nil {
		return unreadable(err, t.cfg.User)
	}
	for _, e := range all {
		if !e.Mode().IsRegular() || !e.ModTime().Before(olderThan) {
			continue
		}
		err := do(ctx, c, func(s *sftp.Client) error { return s.Remove(t.at(path.Join(tempDir, e.Name()))) })
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w: user %s may not delete: use a key or an account that may", cause(err), t.cfg.User)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
