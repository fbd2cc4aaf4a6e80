// Package files takes snapshots of files and directories: what a restore of a CRM needs beside its database, such as uploads and
// configuration, and fingerprints of keys that must never be stored.
//
// A view is not one moment: each file is as it was when it was read, and one that changes meanwhile is read again. Nothing is ever opened
// through a symbolic link below a configured path: each directory is opened from the one above it.
package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lifeboat/internal/clock"
	"lifeboat/snapshot"
)

// Options say what a Source holds.
type Options struct {
	Paths        []string // absolute: files and directories with all that is in them
	Exclude      []string // see ParsePattern
	Fingerprints []string // absolute: files of which only a digest is stored
	Private      []string // directories of backups and their secrets, which no path may hold or lie in
	Now          clock.Clock
}

// Source is some paths of this host's file system.
type Source struct {
	paths   []string // ascending
	exclude []Pattern
	prints  []string // ascending
	now     clock.Clock
}

var _ snapshot.Source = (*Source)(nil)

// New checks that the options make sense together. It looks at symbolic links above the paths, and opens nothing.
func New(o Options) (*Source, error) {
	s := &Source{now: o.Now}
	for _, text := range o.Exclude {
		p, err := ParsePattern(text)
		if err != nil {
			return nil, err
		}
		s.exclude = append(s.exclude, p)
	}
	for _, p := range o.Paths {
		if err := checkPath(p); err != nil {
			return nil, err
		}
		s.paths = append(s.paths, filepath.Clean(p))
	}
	for _, p := range o.Fingerprints {
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("fingerprint %s: write it from / on: the working directory of a backup may be any", p)
		}
		s.prints = append(s.prints, filepath.Clean(p))
	}
	slices.Sort(s.paths)
	slices.Sort(s.prints)
	s.prints = slices.Compact(s.prints)
	return s, s.apart(o.Private)
}

// apart refuses paths of which one lies in another, or holds what is lifeboat's own or lies in it.
func (s *Source) apart(private []string) error {
	var own []place
	for _, p := range private {
		own = append(own, placeOf(p))
	}
	var seen []place
	for _, path := range s.paths {
		p := placeOf(path)
		for _, other := range seen {
			if p.overlaps(other) {
				return fmt.Errorf("path %s and path %s: one lies in the other: keep one of them", other.path, path)
			}
		}
		for _, other := range own {
			if p.overlaps(other) {
				return fmt.Errorf("path %s and %s, where lifeboat keeps backups or what belongs to them: one lies in the other, and backups of backups would only grow: name what is beside it", path, other.path)
			}
		}
		seen = append(seen, p)
	}
	return nil
}

// checkPath refuses a path that cannot be named in a snapshot.
func checkPath(p string) error {
	name := itemName(filepath.Clean(p))
	switch {
	case !filepath.IsAbs(p):
		return fmt.Errorf("path %s: write it from / on: the working directory of a backup may be any", p)
	case name == "":
		return errors.New("path /: name the directories to back up: everything is too much")
	case strings.HasPrefix(name, ".lifeboat-"):
		return fmt.Errorf("path %s: names that begin with /.lifeboat- are lifeboat's own", p)
	}
	return nil
}

// itemName is the name of a path in the snapshot.
func itemName(path string) string { return strings.TrimPrefix(filepath.ToSlash(path), "/") }

// place is a path as it is written and as it leads.
type place struct{ path, real string }

func placeOf(path string) place { return place{path, resolve(path)} }

// overlaps reports whether one is the other or lies in it.
func (p place) overlaps(o place) bool {
	inside := func(a, b string) bool { return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") }
	return inside(p.real, o.real) || inside(o.real, p.real)
}

// resolve follows the symbolic links of a path as far as it is there.
func resolve(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		if to, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(to, rest)
		}
		if at == filepath.Dir(at) {
			return abs
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// root is one of the configured paths, and what was found there.
type root struct {
	path string
	name string // in the snapshot
	counted
	dir    bool
	failed bool // its content could not be listed
}

// counted is what a snapshot remembers of a path.
type counted struct {
	Path    string `json:"path"`
	Entries int64  `json:"entries"` // below it
	Bytes   int64  `json:"bytes"`
	Missed  int64  `json:"missed,omitempty"` // the entries that there were when there last were any, if there are none
}

// manifest is the tree's, see doc/format.md.
type manifest struct {
	Paths []counted `json:"paths"`
}

// find looks whether a path is there.
func find(path string) (*root, error) {
	r := &root{path: path, name: itemName(path), counted: counted{Path: path}}
	e := entry{name: r.name, base: path}
	switch err := e.look(); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("path %s: %w: nothing is backed up without it: is it mounted? Otherwise take it out of the source's paths", path, err)
	case err != nil:
		return nil, fmt.Errorf("path %s: %w", path, err)
	case e.kind() == unix.S_IFLNK:
		return nil, fmt.Errorf("path %s is a symbolic link: name what it leads to, %s", path, resolve(path))
	case e.kind() != unix.S_IFREG && e.kind() != unix.S_IFDIR:
		return nil, fmt.Errorf("path %s is neither a file nor a directory: take it out of the source's paths", path)
	}
	r.dir = e.kind() == unix.S_IFDIR
	return r, nil
}

// Open looks whether all paths are there, and takes the fingerprints. The files are read as they are asked for.
func (s *Source) Open(ctx context.Context, prior *snapshot.Prior) (snapshot.View, error) {
	v := &view{source: s, started: s.now(), notes: &notes{}, before: map[string]counted{}}
	if prior != nil {
		var m manifest
		if json.Unmarshal(prior.Manifest, &m) == nil { // else nothing is known of before
			for _, c := range m.Paths {
				v.before[c.Path] = c
			}
		}
		v.anew = prior.Anew
	}
	for _, p := range s.paths {
		r, err := find(p)
		if err != nil {
			return nil, err
		}
		v.roots = append(v.roots, r)
	}
	var err error
	if v.prints, err = s.fingerprint(ctx, v.notes); err != nil {
		return nil, err
	}
	return v, nil
}
