package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"lifeboat/internal/testenv"
)

// What lines are limited to.
const (
	lineRate    = 50_000_000            // bytes a second
	lineLatency = 10 * time.Millisecond // each way
)

const bucket = "copies"

// copies measures a repository of several copies: on the disk, in a store and on another host, both of which run here. Late ones are beside
// those, for targets that were away.
type copies struct {
	*bench
	stage *stage
	store *testenv.S3
	host  *testenv.SSHD
	lines []*line // to the store, to the host, and to the store again
	used  []time.Duration
	away  []*tool         // that bring a late target up to date
	empty map[string]bool // files of late targets when the repository was empty
}

// line leads to a server.
type line struct {
	*testenv.Proxy
	name   string
	before int64 // bytes that had come over it before this turn
}

// several measures what several copies cost and give.
func (b *bench) several(ctx context.Context) error {
	if _, _, ok := serverUser(); ok {
		if err := os.Chmod(b.dir, 0o711); err != nil {
			return err
		}
	}
	return perform(ctx, filepath.Join(b.dir, "servers"), func(s *stage) error {
		c := &copies{bench: b, stage: s, store: testenv.StartS3(s, "--keep-alive"), host: testenv.StartSSHD(s)}
		c.store.Bucket(bucket, false)
		ssh := fmt.Sprintf("127.0.0.1:%d", c.host.Port)
		for _, l := range []struct{ name, addr string }{{"the store", c.store.Addr}, {"the host", ssh}, {"the second in the store", c.store.Addr}} {
			c.lines = append(c.lines, &line{Proxy: testenv.StartProxy(s, l.addr), name: l.name})
		}
		c.host.Know("host_key", c.lines[1].Proxy)
		c.watch()
		for _, measure := range []func(context.Context) error{c.full, c.late, c.cut, c.far} {
			if err := measure(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// watch looks at the host's processor time until the end: its sessions take theirs with them.
func (c *copies) watch() {
	var wait sync.WaitGroup
	ctx, stop := context.WithCancel(c.stage.ctx)
	wait.Go(func() {
		for ctx.Err() == nil {
			c.host.CPU()
			time.Sleep(200 * time.Millisecond)
		}
	})
	c.stage.Cleanup(func() { stop(); wait.Wait() })
}

// with is lifeboat with these targets.
func (c *copies) with(name string, targets ...string) *tool {
	t := *c.lifeboat
	t.name, t.targets, t.config = "lifeboat, "+name, targets, filepath.Join(c.dir, "copies.yaml")
	t.env = append(slices.Clip(t.env), "AWS_ACCESS_KEY_ID="+c.store.AccessKey, "AWS_SECRET_ACCESS_KEY="+c.store.SecretKey)
	return &t
}

// cloud and vault are targets in the store and on the host, at an address that leads there.
func (c *copies) cloud(name, addr string) string {
	return fmt.Sprintf("%s: {type: s3, bucket: %s, prefix: %s, endpoint: %q}", name, bucket, name, "http://"+addr)
}

func (c *copies) vault(name string, port int) string {
	return fmt.Sprintf("%s: {type: sftp, host: 127.0.0.1, port: %d, user: %s, path: %s, key_file: %s, known_hosts: %s}",
		name, port, c.host.User, filepath.Join(c.host.Home, name), c.host.Key, c.host.KnownHosts)
}

// set lets something happen on all lines, both ways.
func (c *copies) set(f testenv.Fault) {
	for _, l := range c.lines {
		l.Up(f)
		l.Down(f)
	}
}

// meter notes what processor time the servers used until now, and says what it is since the last time.
func (c *copies) meter() string {
	now := []time.Duration{c.store.CPU(), c.host.CPU()}
	last := c.used
	if c.used = now; last == nil {
		last = now
	}
	return fmt.Sprintf("processor seconds of the store %.2f, of sshd %.2f", (now[0] - last[0]).Seconds(), (now[1] - last[1]).Seconds())
}

// full is one to the disk alone, and one to three targets at once. The late targets know the repository, and get nothing.
func (c *copies) full(ctx context.Context) error {
	alone := c.with("one target", c.disk())
	three := c.with("three targets at once", c.disk(), c.cloud("cloud", c.store.Addr), c.vault("vault", c.host.Port))
	c.tools = []*tool{alone, three}
	return c.rounds(ctx, step{what: "full", args: func(t *tool) []string { return t.full },
		before: func(ctx context.Context, t *tool) error {
			err := c.clear()
			if err == nil {
				err = c.found(ctx, t)
			}
			if err == nil {
				err = c.foundLate(ctx)
			}
			if err == nil {
				err = c.configure(t)
			}
			c.meter()
			return err
		},
		after: func(_ *tool, r *row) error { r.note = c.meter(); return nil }})
}

// clear removes what all targets but the disk hold.
func (c *copies) clear() error {
	var errs []error
	for _, name := range []string{"cloud", "vault", "late-cloud", "late-vault"} {
		errs = append(errs, os.RemoveAll(filepath.Join(c.store.Dir, bucket, name)), os.RemoveAll(filepath.Join(c.host.Home, name)))
	}
	return errors.Join(errs...)
}
