package sftp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"

	"lifeboat/target"
)

// tidy is how long removing an unfinished object may take once its Put is over; Clean removes what is left.
const tidy = 2 * time.Second

func (t *Target) put(ctx context.Context, name string, body *io.SectionReader, replace bool) error {
	if err := target.CheckName(name); err != nil {
		return err
	}
	named := false // an earlier attempt may have given the name, and lost the answer
	return t.retry(ctx, func(ctx context.Context, c *conn) error {
		err := t.attempt(ctx, c, name, body, replace, &named)
		if !errors.Is(err, fs.ErrExist) || !named {
			return err
		}
		same, cmpErr := t.holds(ctx, c, name, body)
		if cmpErr != nil || same {
			return cmpErr
		}
		return err
	})
}

// attempt is a Put over one connection.
func (t *Target) attempt(ctx context.Context, c *conn, name string, body *io.SectionReader, replace bool, named *bool) error {
	taken, err := t.prepare(ctx, c, name)
	if err != nil {
		return err
	}
	if !taken || replace {
		err = t.create(ctx, c, name, body, replace, named)
	} else {
		err = fs.ErrExist
	}
	// Who hears that the object exists relies on it, so it has to be durable then, too.
	if errors.Is(err, fs.ErrExist) {
		if err := t.syncEntries(ctx, c, path.Dir(name)); err != nil {
			return err
		}
	}
	return err
}

// create writes a file aside, and gives it its name once it is whole and flushed.
func (t *Target) create(ctx context.Context, c *conn, name string, body *io.SectionReader, replace bool, named *bool) error {
	temp := t.at(path.Join(tempDir, rand.Text()))
	f, err := call(ctx, c, func(s *sftp.Client) (*sftp.File, error) {
		return s.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	})
	switch {
	case err == nil:
		err = t.fill(ctx, c, f, temp, body)
	case errors.Is(err, fs.ErrNotExist):
		return againError{fmt.Errorf("the directory of unfinished objects was removed: %w", err)}
	default:
		return t.explain(ctx, c, t.root, err, 0)
	}
	if err != nil {
		err = t.explain(ctx, c, t.root, err, body.Size())
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, t.discard(ctx, c, f, temp))
	}
	*named = true
	if err := t.name(ctx, c, temp, name, replace); err != nil {
		return errors.Join(err, t.discard(ctx, c, nil, temp))
	}
	var g errgroup.Group
	g.Go(func() error { return t.discard(ctx, c, nil, temp) })
	g.Go(func() error { return t.syncEntries(ctx, c, path.Dir(name)) })
	return g.Wait()
}

// discard closes and removes an unfinished object. It is another name of the finished one by then, or of no use, and an
// append-only account may not remove it: that is left to Clean, and so is what a lost connection leaves.
func (t *Target) discard(ctx context.Context, c *conn, f *sftp.File, temp string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidy)
	defer cancel()
	err := do(ctx, c, func(s *sftp.Client) error {
		err := s.Remove(temp)
		if f != nil {
			_ = f.Close() // what it holds is no longer wanted
		}
		return err
	})
	var again againError
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.As(err, &again) || ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove unfinished object: %w", cause(err))
	}
	return nil
}

// fill writes the whole of body to f, flushes it, and makes sure of its size.
func (t *Target) fill(ctx context.Context, c *conn, f *sftp.File, temp string, body *io.SectionReader) error {
	src := newSource(ctx, body)
	n, err := call(ctx, c, func(*sftp.Client) (int64, error) { return f.ReadFromWithConcurrency(src, requests) })
	if srcErr := src.end(); srcErr != nil {
		return srcErr
	}
	if err != nil {
		return err
	}
	if n != body.Size() {
		return fmt.Errorf("body ends after %d of %d bytes: %w", n, body.Size(), io.ErrUnexpectedEOF)
	}
	var size int64
	var g errgroup.Group
	if c.offers("fsync") {
		g.Go(func() error { return do(ctx, c, func(*sftp.Client) error { return f.Sync() }) })
	}
	g.Go(func() error {
		info, err := call(ctx, c, func(s *sftp.Client) (fs.FileInfo, error) { return s.Lstat(temp) })
		if err == nil {
			size = info.Size()
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return vanished(err)
	}
	if err := do(ctx, c, func(*sftp.Client) error { return f.Close() }); err != nil {
		return err
	}
	if size != body.Size() {
		return fmt.Errorf("the host stored %d of %d bytes: %w", size, body.Size(), io.ErrShortWrite)
	}
	return nil
}

// vanished marks an unfinished object that is gone: somebody cleaned up. It is worth another attempt.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return againError{fmt.Errorf("the unfinished object was removed: %w", err)}
	}
	return err
}

// name gives the file temp its final name. Unless it is to replace, a taken name is fs.ErrExist: by a hard link, or by
// a rename where the host has no hard links, which SFTP forbids to replace. OpenSSH keeps to that.
func (t *Target) name(ctx context.Context, c *conn, temp, name string, replace bool) error {
	final := t.at(name)
	if replace {
		if !c.offers("posix-rename") {
			return fmt.Errorf("the host cannot replace a file (posix-rename@openssh.com): delete the object there: %w", errors.ErrUnsupported)
		}
		err := do(ctx, c, func(s *sftp.Client) error { return s.PosixRename(temp, final) })
		return vanished(t.explain(ctx, c, t.root, err, 0))
	}
	steps := []func(*sftp.Client) error{func(s *sftp.Client) error { return s.Rename(temp, final) }}
	if c.offers("hardlink") {
		steps = append([]func(*sftp.Client) error{func(s *sftp.Client) error { return s.Link(temp, final) }}, steps...)
	}
	var failed error
	for _, step := range steps {
		err := do(ctx, c, step)
		if err == nil || !isAnswer(err) {
			return err
		}
		if failed == nil {
			failed = err
		}
		infos, err := t.lstat(ctx, c, name)
		if err != nil {
			return err
		}
		if infos[0] != nil {
			return fs.ErrExist
		}
	}
	return vanished(t.explain(ctx, c, t.root, failed, 0))
}

// holds reports whether an object is body, byte for byte.
func (t *Target) holds(ctx context.Context, c *conn, name string, body *io.SectionReader) (bool, error) {
	info, err := t.find(ctx, c, name)
	if err != nil || info.Size() != body.Size() {
		return false, err
	}
	r, err := t.get(ctx, name, 0, -1)
	if err != nil {
		return false, err
	}
	defer r.Close()
	there, here := make([]byte, blockSize), make([]byte, blockSize)
	for off := int64(0); off < body.Size(); off += blockSize {
		n := min(blockSize, body.Size()-off)
		if _, err := io.ReadFull(r, there[:n]); err != nil {
			return false, err
		}
		if m, err := body.ReadAt(here[:n], off); int64(m) < n {
			return false, fmt.Errorf("read body: %w", err)
		}
		if !bytes.Equal(there[:n], here[:n]) {
			return false, nil
		}
	}
	return true, nil
}
