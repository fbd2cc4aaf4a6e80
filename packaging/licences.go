package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are the licences that what is linked into Lifeboat may have, by their SPDX names. All of them only ask that
// their text goes with the binary.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}

// recognised is how much of a file, in percent, must be the text of known licences. The rest are copyright lines.
const recognised = 75

// A notice goes with the binary and is no licence of the module: names of authors, what else its repository has, a picture's origin, the
// public domain that SQLite is in.
var (
	licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying)([-._].*)?$`)
	noticeName  = regexp.MustCompile(`(?i)^notice([-._].*)?$|^licen[cs]e.*(3rd-party.*|logo|sqlite)$`)
)

// component is a module that is linked into a binary, or Go itself.
type component struct {
	path, version string
	sum           string // as in go.sum; Go itself has none
	licence       string // an SPDX expression
	text          []byte // of its licences and notices
}

// licences are the components of a binary, sorted, Go first.
func (b *built) licences(ctx context.Context) ([]component, error) {
	goroot, err := goCommand(ctx, nil, "env", "GOROOT")
	if err != nil {
		return nil, fmt.Errorf("find Go: %w", err)
	}
	all := []component{{path: "stdlib", version: b.info.GoVersion}}
	if err := all[0].read(string(bytes.TrimSpace(goroot))); err != nil {
		return nil, err
	}
	args := []string{"list", "-m", "-json"}
	for _, d := range b.info.Deps {
		if d.Replace != nil {
			return nil, fmt.Errorf("list the licences: %s is replaced: a release has what go.mod requires", d.Path)
		}
		args = append(args, d.Path)
	}
	list, err := goCommand(ctx, nil, args...)
	if err != nil {
		return nil, fmt.Errorf("find the modules: %w", err)
	}
	dirs := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var m struct{ Path, Version, Dir string }
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("find the modules: %w", err)
		}
		dirs[m.Path+"@"+m.Version] = m.Dir
	}
	for _, d := range b.info.Deps {
		c := component{path: d.Path, version: d.Version, sum: d.Sum}
		if err := c.read(dirs[d.Path+"@"+d.Version]); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// read finds the licence of the sources in dir. What is not understood ends the release: somebody has to look at it.
func (c *component) read(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("find the licence of %s: %w", c.path, err)
	}
	var ids []string
	for _, e := range entries {
		isNotice := noticeName.MatchString(e.Name())
		if e.IsDir() || !isNotice && !licenceName.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("read the licence of %s: %w", c.path, err)
		}
		c.text = append(append(c.text, text...), '\n')
		if isNotice {
			continue
		}
		found := licensecheck.Scan(text)
		if found.Percent < recognised {
			return fmt.Errorf("read the licence of %s: only %.0f %% of %s is known: read it, and decide whether it may be linked", c.path, found.Percent, e.Name())
		}
		for _, m := range found.Match {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return fmt.Errorf("find the licence of %s: no file in %s looks like one", c.path, dir)
	}
	for _, id := range ids {
		if !slices.Contains(allowed, id) {
			return fmt.Errorf("link %s: its licence %s is not one of %s: decide whether it may be linked", c.path, id, strings.Join(allowed, ", "))
		}
	}
	c.licence = strings.Join(ids, " AND ")
	return nil
}

// texts is what these licences want to go with the binary.
func texts(all []component) []byte {
	var b bytes.Buffer
	for _, c := range all {
		fmt.Fprintf(&b, "==== %s %s (%s)\n\n%s\n", c.path, c.version, c.licence, bytes.TrimSpace(c.text))
	}
	return b.Bytes()
}
