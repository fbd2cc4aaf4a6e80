package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// packages writes the Debian and the RPM package that nfpm.yaml describes.
func (b *built) packages(stage, out string) error {
	text, err := os.ReadFile("nfpm.yaml")
	if err != nil {
		return fmt.Errorf("describe the packages: %w", err)
	}
	for format, packager := range map[string]nfpm.Packager{"deb": deb.Default, "rpm": rpm.DefaultRPM} {
		if err := b.pack(text, format, packager, stage, out); err != nil {
			return fmt.Errorf("make the %s package for %s: %w", format, b.arch, err)
		}
	}
	return nil
}

func (b *built) pack(text []byte, format string, packager nfpm.Packager, stage, out string) error {
	// A hyphen parts a version from the package's own revision: only the first may stand, as the ~ that sorts before the release.
	version, pre, _ := strings.Cut(b.version, "-")
	values := map[string]string{"ARCH": b.arch, "VERSION": version, "PRERELEASE": strings.ReplaceAll(pre, "-", "."), "STAGE": stage, "BINARY": b.path}
	config, err := nfpm.ParseWithEnvMapping(bytes.NewReader(text), func(name string) string { return values[name] })
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	info.MTime = b.commit
	var pkg bytes.Buffer
	if err := packager.Package(info, &pkg); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, packager.ConventionalFileName(info)), pkg.Bytes(), 0o644)
}

// writeSums writes SHA256SUMS of everything in dir, as sha256sum reads it.
func writeSums(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the release: %w", err)
	}
	var text bytes.Buffer
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return fmt.Errorf("sum up the release: %w", err)
		}
		fmt.Fprintf(&text, "%x  %s\n", sum(data), f.Name())
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("sum up the release: %w", err)
	}
	return nil
}
