package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// installed is the program's path and the first line of what it says of its version, or nothing.
func (b *bench) installed(ctx context.Context, name string) (bin, version string, err error) {
	if bin, err = exec.LookPath(name); err != nil {
		b.rows = append(b.rows, row{tool: name, what: "not installed"})
		return "", "", nil
	}
	out, err := exec.CommandContext(ctx, bin, "version").Output()
	version, _, _ = strings.Cut(string(out), "\n")
	return bin, version, err
}

// restic reads files, and knows no consistent state of a database that is written to: nobody writes meanwhile.
func (b *bench) restic(ctx context.Context) error {
	if b.maria != nil {
		return nil
	}
	bin, version, err := b.installed(ctx, "restic")
	if bin == "" || err != nil {
		return err
	}
	version, _, _ = strings.Cut(version, " compiled")
	cache := filepath.Join(b.dir, "restic-cache")
	t := &tool{name: version, bin: bin, repo: filepath.Join(b.dir, "restic"), restored: filepath.Join(b.out(), b.db.dir)}
	t.env = []string{"RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY=" + t.repo, "RESTIC_CACHE_DIR=" + cache}
	t.full = []string{"backup", "-q", "--exclude", filepath.Join(b.db.dir, "pg_wal"), b.db.dir}
	t.again = append(slices.Clone(t.full), "--force")
	t.restore = []string{"restore", "-q", "latest", "--target", b.out()}
	t.fresh = func(ctx context.Context) error {
		if err := errors.Join(os.RemoveAll(t.repo), os.RemoveAll(cache)); err != nil {
			return err
		}
		_, err := t.run(ctx, "init", "init", "--repository-version", "2")
		return err
	}
	b.tools = append(b.tools, t)
	return nil
}

// baseBackup is the floor: what the server needs to hand out its files.
func (b *bench) baseBackup(context.Context) error {
	if b.cluster == nil {
		return nil
	}
	bin := filepath.Join(b.bin, "pg_basebackup")
	if _, err := os.Stat(bin); err != nil {
		b.rows = append(b.rows, row{tool: "pg_basebackup to nowhere", what: "is not among the programs of this server"})
		return nil
	}
	b.tools = append(b.tools, &tool{name: "pg_basebackup to nowhere", bin: bin, note: "the floor",
		fresh: func(context.Context) error { return nil },
		full:  append([]string{"-D", "-", "-Ft", "-X", "none", "-c", "fast", "--no-manifest"}, b.cluster.reach()...)})
	return nil
}

// pgbackrest copies files alone, without the log that makes them consistent: its archiving is not part of the comparison.
func (b *bench) pgbackrest(ctx context.Context) error {
	if b.cluster == nil {
		return nil
	}
	bin, version, err := b.installed(ctx, "pgbackrest")
	if bin == "" || err != nil {
		return err
	}
	conf := filepath.Join(b.dir, "pgbackrest.conf")
	t := &tool{name: version, bin: bin, repo: filepath.Join(b.dir, "pgbackrest"), restored: b.out()}
	text := fmt.Sprintf("[global]\nrepo1-path=%s\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=bench\nrepo1-bundle=y\nrepo1-retention-full=2\n"+
		"lock-path=%s\nlog-level-console=off\nlog-level-file=off\nlog-level-stderr=warn\nprocess-max=2\ncompress-type=zst\ncompress-level=3\n"+
		"archive-check=n\nstart-fast=y\n[crm]\npg1-path=%s\npg1-socket-path=%s\npg1-user=postgres\n",
		t.repo, filepath.Join(b.dir, "pgbackrest-lock"), b.cluster.data, b.cluster.base)
	help, err := exec.CommandContext(ctx, bin, "help", "backup", "repo-block").CombinedOutput()
	switch {
	case err != nil:
		t.note = "this version has no repo-block"
	case strings.Contains(string(help), "BETA"):
		t.note = "repo-block is a beta in this version"
		text = "[global:backup]\nrepo1-block=y\nbeta=y\n" + text
	default:
		text = "[global:backup]\nrepo1-block=y\n" + text
	}
	args := func(more ...string) []string { return append([]string{"--config=" + conf, "--stanza=crm"}, more...) }
	t.full, t.again = args("--type=full", "backup"), args("--type=incr", "backup")
	t.restore = args("--pg1-path="+b.out(), "--type=none", "restore")
	t.fresh = func(ctx context.Context) error {
		if err := errors.Join(os.RemoveAll(t.repo), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
			return err
		}
		_, err := t.run(ctx, "", args("stanza-create")...)
		return err
	}
	if err := t.fresh(ctx); err != nil && ctx.Err() == nil { // each knows servers up to the newest of its time
		b.rows = append(b.rows, row{tool: version, what: "does not work with this server: " + strings.Join(strings.Fields(err.Error()), " ")})
		return nil
	}
	b.tools = append(b.tools, t)
	return ctx.Err()
}
