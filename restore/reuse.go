package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"lifeboat/internal/atomicfile"
	"lifeboat/snapshot"
)

// Reuse says of what a directory must be that is taken over.
type Reuse struct {
	// Key is that of the Directory; none where Of is set.
	Key string
	// Only are the names that may stand at its top; nil: any, because all of them are the engine's.
	Only []string
	// Identity is one word for what the directory belongs to: a restore that died is gone on with by the same only.
	Identity string
	// Check refuses a directory that is of something else, or in use. It is asked before anything is done, and again when nobody can
	// find the content any more.
	Check func(dir string) error
	// Of is the directory that this one is a part of: both are given back, or neither.
	Of *Directory
}

// reused is a Directory that held content already. All of it moves into the partial directory first, where no engine finds it, and stays
// there until it is what the snapshot says: so a restore that dies leaves nothing that looks whole. Its files are changed in place there.
type reused struct {
	Reuse
	marker   marker
	taken    bool
	standing *inventory
}

// ReuseDirectory looks at a directory that is to be taken over for size bytes, and changes nothing yet. Errors wrap ErrRefused.
func ReuseDirectory(dir string, size int64, r Reuse) (*Directory, error) {
	d := newDirectory(dir)
	d.Key, d.reused = r.Key, &reused{Reuse: r}
	if err := d.inspect(); err != nil {
		return nil, fmt.Errorf("%w: restore to %s: %w", ErrRefused, dir, err)
	}
	if err := CheckSpace(dir, max(0, size-d.Holds())); err != nil {
		return nil, errors.Join(err, d.standing.close())
	}
	return d, nil
}

// Holds is how many bytes on the disk the files have that can be changed in place.
func (d *Directory) Holds() int64 { return d.standing.size }

func (d *Directory) inspect() error {
	m, marked, err := readMarker(d.dir)
	if err != nil {
		return err
	}
	d.marker = marker{identity: d.Identity}
	if err := d.only(); err != nil {
		return err
	}
	switch {
	case d.Of == nil && d.whole(): // a marker was left when all else was done
		err = d.Check(d.dir)
	case marked && m.identity != d.Identity:
		err = errors.New("a restore of something else was to reuse it and did not end: choose another directory")
	case marked:
		d.marker = m
	case d.Check != nil:
		err = d.Check(d.dir)
	}
	if err != nil {
		return err
	}
	d.standing, err = take(d.dir, "", filepath.Join(partial, content))
	return err
}

// only refuses a directory that holds more than it may.
func (d *Directory) only() error {
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		if d.Only != nil && e.Name() != partial && !slices.Contains(d.Only, e.Name()) {
			return fmt.Errorf("%s is in it, which is no part of the database and would be removed: choose a new directory", e.Name())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// whole reports whether the key stands in its place: then nothing was begun, or all is done.
func (d *Directory) whole() bool {
	_, err := os.Lstat(filepath.Join(d.dir, d.Key))
	return err == nil
}

// changed reports whether it can no longer be given back.
func (d *Directory) changed() bool {
	if d.Of != nil {
		return d.Of.changed()
	}
	return d.marker.changed
}

// done reports whether it is what the snapshot says, and all that it is a part of.
func (d *Directory) done() bool {
	if d.Of != nil {
		return d.Of.done()
	}
	return d.finished
}

// Take implements Reuser: the marker, then the key, then all else moves into the partial directory; each is durable before the next.
func (d *Directory) Take() (err error) {
	to := filepath.Join(d.Work(), content)
	_, err = os.Lstat(d.dir)
	d.created = errors.Is(err, fs.ErrNotExist)
	d.taken = true
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("restore to %s: %w", d.dir, err)
	}
	d.marker.changed = d.changed()
	if err := errors.Join(d.marker.write(d.dir), atomicfile.SyncDir(d.dir), atomicfile.SyncDir(filepath.Dir(filepath.Clean(d.dir)))); err != nil {
		return err
	}
	if d.root, err = os.OpenRoot(d.Work()); err != nil {
		return fmt.Errorf("restore to %s: %w", d.dir, err)
	}
	whole := d.Key != "" && d.whole()
	if whole {
		if err := d.move(d.Key); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("restore to %s: %w", d.dir, err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != partial {
			names = append(names, e.Name())
		}
	}
	if err := d.move(names...); err != nil {
		return err
	}
	if whole {
		if err := d.Check(to); err != nil {
			return fmt.Errorf("%w: restore to %s: %w", ErrRefused, d.dir, err)
		}
	}
	if err := errors.Join(d.standing.close(), d.scrap()); err != nil {
		return err
	}
	d.standing, err = take(d.Work(), content)
	return err
}

// scrap removes what a restore that died left of its temporary files.
func (d *Directory) scrap() error {
	entries, err := os.ReadDir(d.Work())
	for _, e := range entries {
		if e.Name() != content && e.Name() != markerName {
			err = errors.Join(err, d.root.RemoveAll(e.Name()))
		}
	}
	return err
}

// move puts files of the directory into the partial directory, durably.
func (d *Directory) move(names ...string) error {
	to := filepath.Join(d.Work(), content)
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(to, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restore to %s: %s stands there and in %s: move one of them away and repeat", d.dir, name, to)
		}
		if err := os.Rename(filepath.Join(d.dir, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("restore to %s: %w", d.dir, err)
		}
	}
	return errors.Join(atomicfile.SyncDir(to), atomicfile.SyncDir(d.dir))
}

// Existing implements Reuser.
func (d *Directory) Existing(f snapshot.File) (*os.File, error) {
	return d.standing.file(f.Name)
}

// keeps reports whether a file stands there that is changed in place.
func (d *Directory) keeps(f snapshot.File) bool {
	return d.reused != nil && f.Kind != snapshot.Dir && d.standing.entries[f.Name].kept
}

// Surplus implements Reuser.
func (d *Directory) Surplus(files []snapshot.File) (n int) {
	for _, name := range d.surplus(files) {
		if !d.standing.entries[name].dir {
			n++
		}
	}
	return n
}

// surplus lists what has no place in the snapshot, or another kind there: what is in a directory before it.
func (d *Directory) surplus(files []snapshot.File) (out []string) {
	wanted := map[string]bool{".": true} // true: a directory
	for _, f := range files {
		wanted[f.Name] = f.Kind == snapshot.Dir
		for dir := path.Dir(f.Name); !wanted[dir]; dir = path.Dir(dir) {
			wanted[dir] = true
		}
	}
	for _, name := range d.standing.names {
		e := d.standing.entries[name]
		if dir, ok := wanted[name]; !ok || dir != e.dir || !dir && !e.kept {
			out = append(out, name)
		}
	}
	return out
}

// Begin implements Reuser.
func (d *Directory) Begin(files []snapshot.File) error {
	d.marker.changed = true
	if err := d.marker.write(d.dir); err != nil {
		return err
	}
	for _, name := range d.surplus(files) {
		if err := d.root.Remove(path.Join(content, name)); err != nil {
			return fmt.Errorf("restore to %s: remove what is not in the snapshot: %w", d.dir, err)
		}
		delete(d.standing.entries, name)
	}
	return nil
}

// leave ends the use of a directory that was taken over.
func (d *Directory) leave() (err error) {
	if d.standing != nil {
		err = d.standing.close()
	}
	if !d.taken {
		return err
	}
	if d.root != nil {
		err = errors.Join(err, d.root.Close())
	}
	if !d.done() {
		if d.changed() {
			if d.Of == nil {
				err = errors.Join(err, fmt.Errorf("%s is restored in part, and no database server can use it: repeat the restore with --reuse", d.dir))
			}
			return err
		}
		created := d.created
		if back := d.place(); back != nil {
			return errors.Join(err, back)
		}
		d.created = created
	}
	err = errors.Join(err, os.RemoveAll(d.Work()))
	if d.created {
		_ = os.Remove(d.dir) // only if it is still empty
	}
	return err
}
