package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/internal/bandwidth"
	"lifeboat/internal/clock"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/target"
	"lifeboat/target/local"
	"lifeboat/target/sftp"
)

// access is how a command that reads finds a copy and opens it.
type access struct {
	from     string
	identity string
	trust    string
}

func (x *access) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&x.from, "from", "", "read this copy: a target's `NAME`, or a URL such as file:///backup")
	f.StringVar(&x.identity, "identity", "", "identity `FILE` that opens the repository (default $LIFEBOAT_IDENTITY_FILE)")
	f.StringVar(&x.trust, "trust", "", "refuse any repository but the one with this `FINGERPRINT`")
}

// openTarget opens a configured target; create makes its directory.
func (a *app) openTarget(ctx context.Context, t config.Target, create bool) (target.Target, error) {
	switch t.Type {
	case config.Local:
		if create {
			return local.Create(t.Path)
		}
		return local.Open(t.Path)
	case config.SFTP:
		return openSFTP(ctx, t, create, a.limit(t))
	case config.S3:
		return openS3(ctx, t, a.limit(t))
	}
	return nil, fmt.Errorf("targets of type %s are not in this version", t.Type)
}

// limit holds all connections of a target, whichever part of the program opened it.
func (a *app) limit(t config.Target) *bandwidth.Limit {
	if a.unlimited {
		return nil
	}
	if a.beside != nil {
		return a.beside.limit(t)
	}
	l, _ := a.limits.LoadOrStore(t.Name, bandwidth.New(t.Bandwidth, clock.System))
	return l.(*bandwidth.Limit)
}

// copies opens all configured targets; one that cannot be opened carries its error.
func (a *app) copies(ctx context.Context, create bool) ([]*repository.Copy, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if len(cfg.Targets) == 0 {
		return nil, usagef("no targets are configured: add one under targets, such as disk: {type: local, path: /backup/lifeboat}")
	}
	out := make([]*repository.Copy, len(cfg.Targets))
	var wait sync.WaitGroup
	for i, t := range cfg.Targets {
		wait.Go(func() {
			out[i] = &repository.Copy{Name: t.Name}
			if opened, err := a.openTarget(ctx, t, create); err != nil {
				out[i].Err = err
			} else {
				out[i].Target = opened
			}
		})
	}
	wait.Wait()
	if err := cmp.Or(ctx.Err(), apart(cfg, out)); err != nil {
		daemon.CloseAll(out)
		return nil, err
	}
	return out, nil
}

// readable opens the targets that can be read from, or the one of a name alone: one that cannot be opened, or does not answer while another does, carries its error.
func (a *app) readable(ctx context.Context, only string) ([]*repository.Copy, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if only == "" && len(cfg.Targets) == 0 {
		return a.copies(ctx, false)
	}
	all := make([]*repository.Copy, len(cfg.Targets))
	var asked []int
	for i, t := range cfg.Targets {
		all[i] = &repository.Copy{Name: t.Name}
		if only == "" || only == t.Name {
			asked = append(asked, i)
		}
	}
	opened, errs := answers(ctx, len(asked), func(ctx context.Context, i int) (target.Target, error) {
		return a.openTarget(ctx, cfg.Targets[asked[i]], false)
	}, func(t target.Target) { daemon.CloseAll([]*repository.Copy{{Target: t}}) })
	var out []*repository.Copy
	for n, i := range asked {
		if all[i].Err = errs[n]; errs[n] == nil { // a target that is nil is not nil as one of its type
			all[i].Target = opened[n]
		}
		out = append(out, all[i])
	}
	if err := cmp.Or(ctx.Err(), apart(cfg, all)); err != nil {
		daemon.CloseAll(out)
		return nil, err
	}
	return out, nil
}

// apart refuses targets that share a place: two copies on one disk are one, and what is inside another is overwritten with it.
func apart(cfg *config.Config, copies []*repository.Copy) error {
	places := []place{{"state_dir", resolved(cfg.StateDir)}}
	for i, t := range cfg.Targets {
		name := "target " + t.Name
		switch t.Type {
		case config.Local:
			places = append(places, place{name, resolved(t.Path)})
		case config.S3:
			places = append(places, place{name, placeS3(t)})
		case config.SFTP:
			places = append(places, place{name, placeSFTP(t)})
			if opened, ok := copies[i].Target.(*sftp.Target); ok {
				places = append(places, place{name, opened.Place()})
			}
		}
	}
	for i, p := range places {
		for _, q := range places[:i] {
			if p.name != q.name && (within(p.path, q.path) || within(q.path, p.path)) {
				return usagef("%s (%s) and %s (%s) are one inside the other: give each a directory of its own", q.name, q.path, p.name, p.path)
			}
		}
	}
	return nil
}

type place struct{ name, path string }

// resolved is a path without symbolic links, as far as it exists.
func resolved(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for dir, rest := abs, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if r, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(r, rest)
		}
		if dir == filepath.Dir(dir) {
			return abs
		}
	}
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// outside refuses to restore into a copy or the state directory: what nobody knows there is taken for garbage, and plain data
// does not belong there.
func (a *app) outside(x access, to string) error {
	places := []place{}
	if cfg, err := a.config(); err == nil {
		places = append(places, place{"the state directory", resolved(cfg.StateDir)})
		for _, t := range cfg.Targets {
			if t.Type == config.Local {
				places = append(places, place{"target " + t.Name, resolved(t.Path)})
			}
		}
	}
	if u, err := url.Parse(x.from); err == nil && u.Scheme == "file" {
		places = append(places, place{"the copy", resolved(u.Path)})
	}
	for _, p := range places {
		if within(resolved(to), p.path) {
			return fmt.Errorf("%w: restore to %s: it is inside %s (%s): choose another place", restore.ErrRefused, to, p.name, p.path)
		}
	}
	return nil
}

// hostConfig is the configuration of the backup host.
func (a *app) hostConfig(ctx context.Context, create bool) (repository.Config, error) {
	copies, err := a.copies(ctx, create)
	if err != nil {
		return repository.Config{}, err
	}
	return a.hostOf(copies), nil
}

// answering is hostConfig without the copies that do not answer while another does: what is recorded must not wait for them.
func (a *app) answering(ctx context.Context) (repository.Config, error) {
	copies, err := a.readable(ctx, "")
	if err != nil {
		return repository.Config{}, err
	}
	_, errs := openAll(ctx, copies)
	for i, c := range copies {
		if errors.Is(errs[i], errSilent) {
			c.Err = errs[i]
		}
	}
	return a.hostOf(copies), nil
}

func (a *app) hostOf(copies []*repository.Copy) repository.Config {
	return repository.Config{StateDir: a.cfg.StateDir, Copies: copies, Now: a.now, By: by(), From: origin(), Warn: a.warn}
}

// host opens the repository for writing.
func (a *app) host(ctx context.Context) (*repository.Host, error) {
	c, err := a.hostConfig(ctx, false)
	if err != nil {
		return nil, err
	}
	return repository.OpenHost(ctx, c)
}

// locate opens the targets that a command may read from: the one that --from names, or all that answer.
func (a *app) locate(ctx context.Context, x access) (found []*repository.Copy, err error) {
	if strings.Contains(x.from, "://") {
		t, err := openURL(ctx, x.from)
		return []*repository.Copy{{Name: x.from, Target: t}}, err
	}
	copies, err := a.readable(ctx, x.from)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, c := range copies {
		if c.Err == nil {
			found = append(found, c)
		} else {
			errs = append(errs, fmt.Errorf("target %s: %w", c.Name, c.Err))
		}
	}
	if len(found) == 0 && len(errs) == 0 {
		return nil, usagef("there is no target %q in the configuration", x.from)
	}
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

func openURL(ctx context.Context, s string) (target.Target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, usagef("--from %q: %w", s, err)
	}
	switch u.Scheme {
	case "sftp":
		return openSFTPURL(ctx, s, u)
	case "s3":
		return openS3URL(ctx, s, u)
	case "file":
	default:
		return nil, usagef("--from %q: %s is not in this version, only file:///path, sftp://user@host/path and s3://bucket/prefix", s, u.Scheme)
	}
	if u.Host != "" || u.Path == "" || u.RawQuery != "" {
		return nil, usagef("--from %q: write file:///path, with three slashes", s)
	}
	return local.Open(u.Path)
}
