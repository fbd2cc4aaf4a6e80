package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// root is the main module, seen from here.
const root = ".."

// built is a program of Lifeboat and what Go wrote into it: so the release, the bill of materials and `lifeboat version` cannot disagree.
type built struct {
	program string
	path    string
	binary  []byte
	os      string
	arch    string
	version string    // of the tag or, where the commit has none, Go's pseudo-version; without the v
	commit  time.Time // the date of everything in the release
	info    *buildinfo.BuildInfo
}

// The programs: one for those who run it, and one for auditors, who want it alone.
const (
	lifeboat = "lifeboat"
	verifier = "lifeboat-verify"
)

// build compiles a program for one system. Whatever could make another binary of the same commit is set here.
func build(ctx context.Context, program, path, goos, arch string) (*built, error) {
	// Without DWARF it is a third smaller; the symbols stay, for stack traces and for those who search it for vulnerabilities.
	_, err := goCommand(ctx, []string{"GOOS=" + goos, "GOARCH=" + arch},
		"build", "-trimpath", "-buildvcs=true", "-ldflags=-w -buildid=", "-o", path, "./cmd/"+program)
	if err != nil {
		return nil, fmt.Errorf("build %s for %s/%s: %w", program, goos, arch, err)
	}
	b := &built{program: program, path: path, os: goos, arch: arch}
	if b.binary, err = os.ReadFile(path); err != nil {
		return nil, fmt.Errorf("read what was built: %w", err)
	}
	if b.info, err = buildinfo.Read(bytes.NewReader(b.binary)); err != nil {
		return nil, fmt.Errorf("read what was built: %w", err)
	}
	settings := map[string]string{}
	for _, s := range b.info.Settings {
		settings[s.Key] = s.Value
	}
	b.version = strings.TrimPrefix(b.info.Main.Version, "v")
	if b.commit, err = time.Parse(time.RFC3339, settings["vcs.time"]); err != nil {
		return nil, fmt.Errorf("read the time of the commit: %w", err)
	}
	return b, nil
}

// committed refuses what is not in the commit that the release is named after.
func committed(ctx context.Context) error {
	changed, err := output(exec.CommandContext(ctx, "git", "status", "--porcelain"))
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		return fmt.Errorf("make a release of what is not committed: commit it, or put it away with `git stash --include-untracked`:\n%s", bytes.TrimRight(changed, "\n"))
	}
	return nil
}

// goCommand runs the go command in the main module.
func goCommand(ctx context.Context, env []string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = root
	c.Env = append(os.Environ(), "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "GOFIPS140=off", "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0")
	c.Env = append(c.Env, env...)
	return output(c)
}

// output runs a command, and puts what it complained of into the error.
func output(c *exec.Cmd) ([]byte, error) {
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}

// manual leaves in stage what the packages have beside the binary: pages, completions and changes.
func manual(ctx context.Context, host *built, stage string) error {
	pages := filepath.Join(stage, "man")
	if err := os.Mkdir(pages, 0o755); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	if _, err := output(exec.CommandContext(ctx, host.path, "man", pages)); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(pages, "*.1"))
	if err != nil {
		return fmt.Errorf("list manual pages: %w", err)
	}
	for _, name := range names {
		if err := gzipFile(name, name+".gz"); err != nil {
			return err
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text, err := output(exec.CommandContext(ctx, host.path, "completion", shell))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(stage, "completion."+shell), text, 0o644); err != nil {
			return fmt.Errorf("write the completion for %s: %w", shell, err)
		}
	}
	return gzipFile(filepath.Join(root, "CHANGELOG.md"), filepath.Join(stage, "changelog.gz"))
}

func gzipFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	return writeGzip(to, text)
}

// writeGzip compresses without a name and without a time.
func writeGzip(path string, text []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("compress %s: %w", path, err)
	}
	_, err = z.Write(text)
	if err := errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("compress %s: %w", path, err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	return nil
}
