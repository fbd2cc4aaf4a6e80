package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/pkg/sftp"
)

// explain finds out why the host refused to write size bytes below dir: the protocol has one word for most failures.
func (t *Target) explain(ctx context.Context, c *conn, dir string, err error, size int64) error {
	var status *sftp.StatusError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: user %s may not write there: give them the directory, unless the account is meant for reading only", err, t.cfg.User)
	case !errors.As(err, &status):
		return err
	}
	st, stErr := call(ctx, c, func(s *sftp.Client) (*sftp.StatVFS, error) { return s.StatVFS(dir) })
	if stErr != nil {
		return err // the host does not tell
	}
	free := st.Bavail * st.Frsize
	switch {
	case free <= uint64(size):
		return fmt.Errorf("%w: %d bytes are free on the host", syscall.ENOSPC, free)
	case st.Files > 0 && st.Favail == 0:
		return fmt.Errorf("%w: the host's file system can hold no more files", syscall.ENOSPC)
	}
	return err
}

// cause drops the path from an error of package os, where the message already names the object.
func cause(err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}
