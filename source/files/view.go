package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

// view is the state of all paths, as it is while they are read.
type view struct {
	source  *Source
	started time.Time
	roots   []*root
	prints  *prints
	notes   *notes
	before  map[string]counted // by path, in the prior snapshot
	anew    bool
	yield   func(snapshot.Item, error) bool
}

var _ snapshot.Sorted = (*view)(nil)

// Sorted implements snapshot.Sorted.
func (v *view) Sorted() {}

// Items implements snapshot.View.
func (v *view) Items(ctx context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		stopped := false
		v.yield = func(item snapshot.Item, err error) bool {
			stopped = !yield(item, err)
			return !stopped
		}
		roots := slices.Clone(v.roots)
		if len(v.source.prints) > 0 {
			i, _ := slices.BinarySearchFunc(roots, fingerprintsName, func(r *root, name string) int { return strings.Compare(r.name, name) })
			roots = slices.Insert(roots, i, &root{name: fingerprintsName})
		}
		w := walker{ctx: ctx, exclude: v.source.exclude, notes: v.notes}
		w.visit = func(e *entry) bool { return v.visit(w.at, e) }
		if !w.walk(roots) && !stopped {
			yield(snapshot.Item{}, ctx.Err())
		}
	}
}

// visit yields an entry.
func (v *view) visit(at *root, e *entry) bool {
	item := snapshot.Item{Name: e.name, Mode: e.perm(), ModTime: e.modified(), Owner: e.owner()}
	switch {
	case at.path == "":
		text := v.prints.text
		return v.yield(snapshot.Item{Name: e.name, Kind: snapshot.Stream, Size: int64(len(text)), Mode: 0o600, Body: bytes.NewReader(text)}, nil)
	case e.kind() == unix.S_IFDIR:
		item.Kind = snapshot.Dir
	case e.kind() == unix.S_IFLNK:
		link, err := e.target()
		if err != nil {
			v.notes.lost(e.name, err)
			return true
		}
		item.Kind, item.Link = snapshot.Link, link
	default:
		return v.file(at, e)
	}
	at.count(e)
	return v.yield(item, nil)
}

// file yields a file, again and anew where it changes while it is read.
func (v *view) file(at *root, e *entry) bool {
	for try := 1; ; try++ {
		if err := v.settle(e); err != nil {
			v.notes.lost(e.name, err)
			return true
		}
		if v.prints.holds(e) {
			v.notes.add(secret, e.name, nil)
			return true
		}
		b := &body{entry: e, prints: v.prints, last: try == tries}
		item := snapshot.Item{Name: e.name, Kind: snapshot.Stream, Size: e.Size, Mode: e.perm(), ModTime: e.modified(), Owner: e.owner(), Body: b, State: e.state(v.started)}
		if b.last {
			item.Size, item.State = -1, ""
		}
		ok := v.yield(item, nil)
		b.close()
		if !ok {
			return false
		}
		if b.why == nil || errors.Is(b.err, io.EOF) {
			if b.why != nil {
				v.notes.add(changed, e.name, nil)
			}
			if e.Nlink > 1 {
				v.notes.add(linked, e.name, nil)
			}
			at.count(e)
			return true
		}
		if !errors.Is(b.why, errChanged) {
			v.notes.lost(e.name, b.why)
			return true
		}
		if b.last || e.look() != nil || e.kind() != unix.S_IFREG {
			v.notes.add(vanished, e.name, nil)
			return true
		}
	}
}

// tick is more than the step in which file systems of Linux count the time of a write: while it is not over, another write may go unnoticed.
const tick = 20 * time.Millisecond

// settle waits until the next write to a file is sure to change its times.
func (v *view) settle(e *entry) error {
	left := time.Unix(e.Ctim.Unix()).Add(tick).Sub(v.source.now())
	if left <= 0 || left > tick {
		return nil
	}
	time.Sleep(left)
	err := e.look()
	if err == nil && e.kind() != unix.S_IFREG {
		err = unix.ENOENT // it is something else by now
	}
	return err
}

// count adds an entry to what was found below the path.
func (r *root) count(e *entry) {
	if e.name != r.name {
		r.Entries++
	}
	if e.kind() == unix.S_IFREG {
		r.Bytes += e.Size
	}
}

// Summary implements snapshot.View.
func (v *view) Summary() (snapshot.Summary, error) {
	m := manifest{Paths: []counted{}}
	for _, r := range v.roots {
		before := v.before[r.path]
		if had := max(before.Entries, before.Missed); r.dir && r.Entries == 0 && had > 0 && !v.anew {
			r.Missed = had
			if !r.failed {
				v.notes.add(emptied, r.name, fmt.Errorf("it is empty and held %d entries before: is it mounted? If it is meant, a backup with --full says so", had))
			}
		}
		m.Paths = append(m.Paths, r.counted)
	}
	b, err := json.Marshal(m)
	return snapshot.Summary{Manifest: b, Findings: v.notes.findings()}, err
}

// Size implements snapshot.View: what there was before.
func (v *view) Size() (n int64) {
	for _, r := range v.roots {
		n += v.before[r.path].Bytes
	}
	return n
}

// Close implements snapshot.View.
func (v *view) Close() error { return nil }
