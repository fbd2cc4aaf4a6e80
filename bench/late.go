package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"lifeboat/internal/testenv"
)

// late brings all that the disk has to a target that was away, over a line with a limit. What that line carries is measured beside it.
func (c *copies) late(ctx context.Context) error {
	me, err := os.Executable()
	if err != nil {
		return err
	}
	sink, err := c.sink(ctx)
	if err != nil {
		return err
	}
	plain := testenv.StartProxy(c.stage, sink)
	plain.Up(testenv.Fault{Rate: lineRate})
	c.set(testenv.Fault{Rate: lineRate})
	defer c.set(testenv.Fault{})
	c.tools = append([]*tool{{name: "the same bytes over a plain connection", bin: me, full: []string{"work", "send", c.lifeboat.repo, fmt.Sprint(plain.Port), "0"}}}, c.away...)
	what := fmt.Sprintf("catch up, at %d MB/s", lineRate/1_000_000)
	return c.rounds(ctx, step{what: what, args: func(t *tool) []string { return t.full },
		before: func(_ context.Context, t *tool) error {
			defer c.meter()
			if t.config == "" {
				return nil
			}
			return errors.Join(c.configure(t), files(t.repo, func(path string) error {
				if c.empty[path] {
					return nil
				}
				return os.Remove(path)
			}))
		},
		after: func(_ *tool, r *row) error { r.note = c.meter(); return nil }})
}

// foundLate prepares the late targets while the repository is empty.
func (c *copies) foundLate(ctx context.Context) error {
	store := c.with("to the store", c.disk(), c.cloud("late-cloud", c.lines[2].Addr))
	host := c.with("to the host", c.disk(), c.vault("late-vault", c.lines[1].Port))
	store.repo, host.repo = filepath.Join(c.store.Dir, bucket, "late-cloud"), filepath.Join(c.host.Home, "late-vault")
	store.full, host.full = []string{"copy", "--to", "late-cloud"}, []string{"copy", "--to", "late-vault"}
	c.away, c.empty = []*tool{store, host}, map[string]bool{}
	for _, t := range c.away {
		if err := c.configure(t); err != nil {
			return err
		}
		if _, err := t.run(ctx, "", "init"); err != nil {
			return err
		}
		if err := files(t.repo, func(path string) error { c.empty[path] = true; return nil }); err != nil {
			return err
		}
	}
	return nil
}

// files calls f for each file below a directory.
func files(dir string, f func(path string) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return f(path)
	})
}

// sink takes what connections bring, at its address, and closes each when it has all.
func (c *copies) sink(ctx context.Context) (addr string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			_, err = io.Copy(io.Discard, conn)
			if err := errors.Join(err, conn.Close()); err != nil {
				c.stage.note(fmt.Errorf("take what a plain connection brings: %w", err))
			}
		}
	}()
	c.stage.Cleanup(func() { c.stage.note(l.Close()) })
	return l.Addr().String(), nil
}

// send sends all files of a directory, and waits until they arrived.
func send(ctx context.Context, dir string, port int64, _ int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	tcp := conn.(*net.TCPConn) // of TCP
	err = files(dir, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(tcp, f)
		return err
	})
	if err := errors.Join(err, tcp.CloseWrite()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, tcp)
	return err
}
