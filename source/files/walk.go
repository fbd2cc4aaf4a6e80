package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// walker goes through paths in the order of the bytes of all names. It is bounded in memory and in descriptors, however large and deep the
// directories are.
type walker struct {
	ctx     context.Context
	exclude []Pattern
	notes   *notes
	// visit is shown each file, directory and link, before what is in it, and ends the walk with false. A root without a path is shown as it is.
	visit    func(*entry) bool
	excluded int

	at     *root
	levels []*level
}

// level is a directory that the walker is in.
type level struct {
	*entry
	file *os.File // nil where it was given back for a while
	lost bool     // and could not be opened again
}

// maxOpen is how many directories are kept open, and the topmost.
const maxOpen = 64

// maxName bounds the memory for the names of directories that lie in each other, thousands deep, as no program makes them that means well.
const maxName = 32 << 10

// queue are directories whose content is still to come, with a slash behind each: the content stands there in the order, "a", "a-b", "a/c".
type queue []string

func (q *queue) push(dir string) {
	i, _ := slices.BinarySearch(*q, dir+"/")
	*q = slices.Insert(*q, i, dir+"/")
}

// drain goes below those that come before a name, or all for "".
func (q *queue) drain(before string, below func(dir string) bool) bool {
	for len(*q) > 0 && (before == "" || (*q)[0] < before) {
		dir := strings.TrimSuffix((*q)[0], "/")
		*q = (*q)[1:]
		if !below(dir) {
			return false
		}
	}
	return true
}

// walk goes through roots, which are sorted by name. It reports whether it came to the end.
func (w *walker) walk(roots []*root) bool {
	var q queue
	below := func(name string) bool {
		i, _ := slices.BinarySearchFunc(roots, name, func(r *root, name string) int { return strings.Compare(r.name, name) })
		w.at = roots[i]
		return w.descend(&entry{name: name, base: w.at.path})
	}
	for _, r := range roots {
		if !q.drain(r.name, below) {
			return false
		}
		w.at = r
		e := &entry{name: r.name, base: r.path}
		if r.path == "" {
			if !w.visit(e) {
				return false
			}
			continue
		}
		dir, ok := w.look(e)
		if !ok {
			return false
		}
		if dir {
			q.push(r.name)
		}
	}
	return q.drain("", below)
}

// look shows an entry to visit, and tells whether it is a directory.
func (w *walker) look(e *entry) (dir, ok bool) {
	if w.ctx.Err() != nil {
		return false, false
	}
	err := e.look()
	if err == nil && len(e.name) > maxName {
		err = fmt.Errorf("with the directories above it has a name of more than %d bytes", maxName)
	}
	if err != nil {
		w.notes.lost(e.name, err)
		return false, true
	}
	dir = e.kind() == unix.S_IFDIR
	if below, ok := strings.CutPrefix(e.name, w.at.name+"/"); ok && slices.ContainsFunc(w.exclude, func(p Pattern) bool { return p.fits(below, dir) }) {
		w.excluded++
		return false, true
	}
	if !dir && e.kind() != unix.S_IFREG && e.kind() != unix.S_IFLNK {
		w.notes.add(special, e.name, nil)
		return false, true
	}
	return dir, w.visit(e)
}

// lost notes why something that was listed cannot be had.
func (n *notes) lost(name string, err error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		n.add(vanished, name, nil)
		return
	}
	n.add(unreadable, name, err)
}

// descend goes through a directory, unless it became something else since it was looked at.
func (w *walker) descend(e *entry) bool {
	file, now, err := e.open(unix.O_DIRECTORY)
	if err != nil {
		w.at.failed = w.at.failed || e.name == w.at.name
		w.notes.lost(e.name, err)
		return true
	}
	e.stat = *now
	l := &level{entry: e, file: file}
	w.levels = append(w.levels, l)
	if n := len(w.levels) - 1 - maxOpen; n > 0 {
		w.release(w.levels[n])
	}
	ok := w.below(l)
	w.levels = w.levels[:len(w.levels)-1]
	w.release(l)
	return ok
}

// release gives a descriptor back.
func (w *walker) release(l *level) {
	if l.file != nil {
		_ = l.file.Close() // it was only read
		l.file = nil
	}
}

// below shows what is in a directory.
func (w *walker) below(l *level) bool {
	var q queue
	descend := func(base string) bool { return !w.back(l) || w.descend(l.in(base)) }
	last := ""
	for more := true; more; {
		if !w.back(l) {
			return true
		}
		var names []string
		var err error
		if names, more, err = list(l.file, last, listed); err != nil {
			w.at.failed = true
			w.notes.add(unreadable, l.name, err)
		}
		for _, base := range names {
			if !q.drain(base, descend) {
				return false
			}
			if !w.back(l) {
				return true
			}
			dir, ok := w.look(l.in(base))
			if !ok {
				return false
			}
			if dir {
				q.push(base)
			}
			last = base
		}
	}
	return q.drain("", descend)
}

// in is an entry of the directory.
func (l *level) in(base string) *entry {
	return &entry{name: l.name + "/" + base, dir: l.file, base: base}
}

// back opens a directory again, and those right above it, if they were given back: down from the topmost, and only if each is the one
// that it was. The innermost is asked for.
func (w *walker) back(l *level) bool {
	if l.file != nil || l.lost {
		return !l.lost
	}
	for n := 1; n < len(w.levels); n++ {
		at, above := w.levels[n], w.levels[n-1]
		if at.file == nil {
			next := entry{dir: above.file, base: at.base}
			file, now, err := next.open(unix.O_DIRECTORY)
			if err == nil && now.identity() != at.identity() {
				err = errors.Join(errors.New("another directory stands in its place"), file.Close())
			}
			if err != nil {
				l.lost = true
				w.notes.add(unreadable, l.name, fmt.Errorf("it was moved while it was read, and the rest of it is left out: %w", err))
				return false
			}
			at.file = file
		}
		if n := n - maxOpen; n > 0 {
			w.release(w.levels[n])
		}
	}
	return true
}

// listed is how many names of a directory are remembered at once.
const listed = 1 << 17

// list returns the names in a directory that come after one, in ascending order: the first of them, and whether there are more.
func list(dir *os.File, after string, most int) (names []string, more bool, err error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return nil, false, err
	}
	trim := func() {
		slices.Sort(names)
		if names = slices.Compact(names); len(names) > most {
			names, more = names[:most], true
		}
	}
	for {
		some, err := dir.Readdirnames(1024)
		for _, name := range some {
			if name > after && (!more || name < names[most-1]) {
				names = append(names, name)
			}
		}
		if len(names) >= 2*most {
			trim()
		}
		if err != nil || len(some) == 0 {
			trim()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return names, more, err
		}
	}
}
