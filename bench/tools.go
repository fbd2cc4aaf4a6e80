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
	"syscall"
	"time"
)

// tool is a program with a repository, and the arguments with which it does each part of the job; nil where it does not.
type tool struct {
	name, bin, repo      string
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
		env:  []string{"LIFEBOAT_CONFIG=" + filepath.Join(b.dir, "lifeboat.yaml"), "LIFEBOAT_IDENTITY_FILE=" + filepath.Join(b.dir, "id.txt")},
		full: []string{"backup", "crm"}, again: []string{"backup", "crm"}, restore: []string{"restore", "crm", "--to", b.out()}, restored: b.out()}
	b.tools = []*tool{b.lifeboat}
	return nil
}

// out is where restores go.
func (b *bench) out() string { return filepath.Join(b.dir, "out") }

// fresh makes an empty repository.
func (b *bench) fresh(ctx context.Context) error {
	state, id := filepath.Join(b.dir, "state"), filepath.Join(b.dir, "id.txt")
	if err := errors.Join(os.RemoveAll(b.lifeboat.repo), os.RemoveAll(state), os.RemoveAll(id)); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, b.lifeboat.bin, "keygen", "-o", id).Output()
	if err != nil {
		return err
	}
	conf := fmt.Sprintf("repository: bench\nstate_dir: %s\nkeys:\n  recipients:\n  - %s\nsources:\n  crm: %s\ntargets:\n  disk: {type: local, path: %s}\n",
		state, bytes.TrimSpace(out), b.db.source, b.lifeboat.repo)
	if err := os.WriteFile(filepath.Join(b.dir, "lifeboat.yaml"), []byte(conf), 0o600); err != nil {
		return err
	}
	_, err = b.lifeboat.run(ctx, "init", "init")
	return err
}
