package files

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

// Doctor looks at everything that a snapshot would hold, and reads nothing but what is fingerprinted. It never fails itself.
func (s *Source) Doctor(ctx context.Context) []snapshot.Finding {
	var out []snapshot.Finding
	n := &notes{}
	p, err := s.fingerprint(ctx, n)
	if err != nil {
		return []snapshot.Finding{{Name: "fingerprints", Level: snapshot.Fail, Detail: err.Error()}}
	}
	excluded := 0
	for _, path := range s.paths {
		r, err := find(path)
		if err != nil {
			out = append(out, snapshot.Finding{Name: "path", Level: snapshot.Fail, Detail: err.Error()})
			continue
		}
		detail, left := s.examine(ctx, r, p, n)
		out = append(out, snapshot.Finding{Name: "path", Level: snapshot.OK, Detail: detail})
		excluded += left
	}
	if len(s.exclude) > 0 {
		out = append(out, snapshot.Finding{Name: "exclude", Level: snapshot.OK, Detail: english.Plural(excluded, "name fits", "names fit") + " the patterns, and will be left out with what is below"})
	}
	if len(s.prints) > 0 {
		out = append(out, snapshot.Finding{Name: "fingerprints", Level: snapshot.OK, Detail: fmt.Sprintf("of %s; keep the files themselves elsewhere", english.Plural(len(s.prints), "file", ""))})
	}
	for _, f := range n.findings() {
		if f.Level == snapshot.Fail {
			f.Fix = "let the user that runs lifeboat read it, or name it under exclude"
		}
		out = append(out, f)
	}
	return out
}

// examine counts what is below a path, and notes what is in the way.
func (s *Source) examine(ctx context.Context, r *root, p *prints, n *notes) (detail string, excluded int) {
	var kinds struct{ files, dirs, links int }
	w := walker{ctx: ctx, exclude: s.exclude, notes: n}
	w.visit = func(e *entry) bool {
		switch e.kind() {
		case unix.S_IFDIR:
			kinds.dirs++
			return true
		case unix.S_IFLNK:
			kinds.links++
			return true
		}
		if p.holds(e) {
			n.add(secret, e.name, nil)
			return true
		}
		if err := again(func() error { return unix.Faccessat(descriptor(e.dir), e.base, unix.R_OK, unix.AT_EACCESS) }); err != nil {
			n.lost(e.name, err)
			return true
		}
		if e.Nlink > 1 {
			n.add(linked, e.name, nil)
		}
		kinds.files++
		r.count(e)
		return true
	}
	w.walk([]*root{r})
	return fmt.Sprintf("%s: %s with %s, %s, %s", r.path, english.Plural(kinds.files, "file", ""), humanize.IBytes(uint64(r.Bytes)),
		english.Plural(kinds.dirs, "directory", "directories"), english.Plural(kinds.links, "link", "")), w.excluded
}
