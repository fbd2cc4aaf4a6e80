package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tool is a program with a repository, and the arguments with which it does each part of the job; nil where it does not.
type tool struct {
	name, bin, repo      string
	config               string   // of one that is lifeboat
	targets              []string // in it
	env                  []string
	fresh                func(context.Context) error // empties the repository
	full, again, restore []string
	restored             string // where a restore puts the database's directory
	note                 string
}

// run runs the program once; before and after it looks at the size of the repository.
func (t *tool) run(ctx context.Context, what string, args ...string) (row, error) {
	before, err := size(t.repo)
	if err != nil {
		return row{}, err
	}
	cmd := t.command(ctx, args...)
	begin := time.Now()
	err = cmd.Run()
	r := row{tool: t.name, what: what, wall: time.Since(begin)}
	if err != nil {
		return r, fmt.Errorf("%s %v: %w\n%s", t.name, args, err, cmd.Stderr)
	}
	r.used(cmd.ProcessState)
	after, err := size(t.repo)
	r.grown = after - before
	return r, err
}

// command keeps what the program says of errors; the rest may be gigabytes.
func (t *tool) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.bin, args...)
	cmd.Env = append(os.Environ(), t.env...)
	if t.config != "" {
		cmd.Env = append(cmd.Env, "LIFEBOAT_CONFIG="+t.config)
	}
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

// used notes what an ended process used. The peak is that of the largest, where it had children.
func (r *row) used(p *os.ProcessState) {
	r.cpu = p.UserTime() + p.SystemTime()
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		r.peak = u.Maxrss << 10
	}
}

func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return n, err
}

// build compiles lifeboat, with which the others are compared.
func (b *bench) build(ctx context.Context) error {
	bin := filepath.Join(b.dir, "lifeboat")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "lifeboat/cmd/lifeboat")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	b.lifeboat = &tool{name: "lifeboat", bin: bin, repo: filepath.Join(b.dir, "repo"), fresh: b.fresh,
		config: filepath.Join(b.dir, "lifeboat.yaml"), env: []string{"LIFEBOAT_IDENTITY_FILE=" + filepath.Join(b.dir, "id.txt")},
		full: []string{"backup", "crm"}, again: []string{"backup", "crm"}, restore: []string{"restore", "crm", "--to", b.out()}, restored: b.out()}
	b.lifeboat.targets = []string{b.disk()}
	b.tools = []*tool{b.lifeboat}
	return nil
}

// out is where restores go.
func (b *bench) out() string { return filepath.Join(b.dir, "out") }

// fresh makes an empty repository.
func (b *bench) fresh(ctx context.Context) error {
	return b.found(ctx, b.lifeboat)
}

// disk is the local target, as a line of the configuration.
func (b *bench) disk() string { return "disk: {type: local, path: " + b.lifeboat.repo + "}" }

// found makes an empty repository that t works with, on targets that are empty but for the disk.
func (b *bench) found(ctx context.Context, t *tool) error {
	state, id := filepath.Join(b.dir, "state"), filepath.Join(b.dir, "id.txt")
	if err := errors.Join(os.RemoveAll(b.lifeboat.repo), os.RemoveAll(state), os.RemoveAll(id)); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, b.lifeboat.bin, "keygen", "-o", id).Output()
	if err != nil {
		return err
	}
	b.recipient = string(bytes.TrimSpace(out))
	if err := b.configure(t); err != nil {
		return err
	}
	_, err = t.run(ctx, "init", "init")
	return err
}

// configure lets t work with its targets.
func (b *bench) configure(t *tool) error {
	conf := fmt.Sprintf("repository: bench\nstate_dir: %s\nkeys:\n  recipients:\n  - %s\nsources:\n  crm: %s\ntargets:\n  %s\n",
		filepath.Join(b.dir, "state"), b.recipient, b.db.source, strings.Join(t.targets, "\n  "))
	return os.WriteFile(t.config, []byte(conf), 0o600)
}
