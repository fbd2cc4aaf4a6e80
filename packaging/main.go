// Command packaging makes a release of the commit that is checked out: for each architecture a static binary, a Debian and an
// RPM package and a bill of materials, the program for auditors with its own, and the checksums of all. The same commit and the same Go give the same bytes,
// whoever builds them, where and when. It is a module of its own, so that what it needs is no dependency of Lifeboat.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	dir := flag.String("dir", ".", "the directory `packaging` of a clone")
	out := flag.String("out", "", "new or empty directory for the release")
	arch := flag.String("arch", "amd64,arm64", "architectures, as Go calls them")
	flag.Parse()
	if flag.NArg() > 0 || *out == "" {
		flag.Usage()
		os.Exit(2)
	}
	err := start(ctx, *dir, *out, strings.Split(*arch, ","))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

// start works in dir: all paths but out are relative to it.
func start(ctx context.Context, dir, out string, architectures []string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("find %s: %w", out, err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make the directory of the release: %w", err)
	}
	old, err := os.ReadDir(out)
	if err != nil {
		return fmt.Errorf("make the directory of the release: %w", err)
	}
	if len(old) > 0 {
		return fmt.Errorf("make a release in %s: it is not empty: name another directory", out)
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("go to the sources: %w", err)
	}
	if err := committed(ctx); err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "lifeboat-release-*")
	if err != nil {
		return fmt.Errorf("make a directory for what is built: %w", err)
	}
	return errors.Join(release(ctx, stage, out, architectures), os.RemoveAll(stage))
}

// release builds in stage, and leaves in out what is published.
func release(ctx context.Context, stage, out string, architectures []string) error {
	host, err := build(ctx, lifeboat, filepath.Join(stage, lifeboat), runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return err
	}
	if err := manual(ctx, host, stage); err != nil {
		return err
	}
	for _, arch := range architectures {
		b := host
		if b.os != "linux" || b.arch != arch {
			if b, err = build(ctx, lifeboat, filepath.Join(stage, "lifeboat-"+arch), "linux", arch); err != nil {
				return err
			}
		}
		licences, err := b.publish(ctx, out)
		if err != nil {
			return err
		}
		if err := writeGzip(filepath.Join(stage, "third-party-licences.gz"), licences); err != nil {
			return err
		}
		if err := b.packages(stage, out); err != nil {
			return err
		}
		if err := auditors(ctx, stage, out, arch); err != nil {
			return err
		}
	}
	return writeSums(out)
}

// auditors publishes the program that verifies evidence. It has no package that could bring the licences along, so they stand beside it.
func auditors(ctx context.Context, stage, out, arch string) error {
	b, err := build(ctx, verifier, filepath.Join(stage, verifier+"-"+arch), "linux", arch)
	if err != nil {
		return err
	}
	licences, err := b.publish(ctx, out)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.name(out)+".licences.txt", licences, 0o644); err != nil {
		return fmt.Errorf("publish the licences: %w", err)
	}
	return nil
}

// name is where a program is published.
func (b *built) name(out string) string {
	return filepath.Join(out, fmt.Sprintf("%s_%s_%s_%s", b.program, b.version, b.os, b.arch))
}

// publish leaves a binary and its bill of materials in out, and returns the texts that its licences want to go with it.
func (b *built) publish(ctx context.Context, out string) ([]byte, error) {
	licences, err := b.licences(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.writeSBOM(b.name(out)+".spdx.json", licences); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.name(out), b.binary, 0o755); err != nil {
		return nil, fmt.Errorf("publish the binary: %w", err)
	}
	return texts(licences), nil
}
