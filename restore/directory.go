package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"

	"lifeboat/crypto"
	"lifeboat/snapshot"
)

// partial is where files stand until all of them are complete: a restore that dies leaves nothing that looks whole.
const partial = ".lifeboat-partial"

// maxOpen bounds the files that a Directory keeps open.
const maxOpen = 128

// Directory is a Sink into a directory that was empty, or into one that is taken over, see ReuseDirectory.
type Directory struct {
	// Owner is whom the files belong to; nil: whoever restores.
	Owner *Owner
	// Key is the file at the top without which the engine refuses the directory: it comes into place last. Empty: there is none.
	Key string
	// Tree says that a snapshot of any files comes, not of a database: with symbolic links, and owners, which root restores.
	Tree bool
	// Prepare, where it is set, lets the engine make the files ready where they stand, before they are durable and come into place: what is in dir behind it is what
	// was restored.
	Prepare func(ctx context.Context, dir string) error

	dir      string
	created  bool
	finished bool
	root     *os.Root
	files    []snapshot.File
	dirs     map[string]bool // made

	mu   sync.Mutex
	open map[int]*openFile
	made map[int]bool // files that exist
	tick int

	*reused // nil: the directory was empty
}

// Owner is a user of this system.
type Owner struct {
	UID, GID int
}

type openFile struct {
	*os.File
	used  int // tick
	busy  int
	dirty atomic.Int64 // bytes since the system was last asked to write them
}

// writeBehind is how many bytes of a file are written before the disk is to begin: else it has nothing to do until the end, and then all.
const writeBehind = 8 << 20

// NewDirectory prepares dir, which must be absent or empty, for size bytes. Errors wrap ErrRefused where nothing was
// touched. What an earlier restore left half done is removed.
func NewDirectory(dir string, size int64) (*Directory, error) {
	d := newDirectory(dir)
	switch _, ok, err := readMarker(dir); {
	case err != nil:
		return nil, fmt.Errorf("%w: restore to %s: %w", ErrRefused, dir, err)
	case ok:
		return nil, fmt.Errorf("%w: restore to %s: a restore that was to reuse it did not end: repeat with --reuse, or choose another directory", ErrRefused, dir)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.created = true
	case err != nil:
		return nil, fmt.Errorf("%w: restore to %s: %w", ErrRefused, dir, err)
	}
	for _, e := range entries {
		if e.Name() != partial {
			return nil, fmt.Errorf("%w: restore to %s: the directory is not empty (%s is in it): choose a new one", ErrRefused, dir, e.Name())
		}
	}
	if err := CheckSpace(dir, size); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: restore to %s: %w", ErrRefused, dir, err)
	}
	at := filepath.Join(dir, partial)
	if err := os.RemoveAll(at); err != nil {
		return nil, fmt.Errorf("restore to %s: remove what an earlier restore left: %w", dir, err)
	}
	if err := os.Mkdir(at, 0o700); err != nil {
		return nil, fmt.Errorf("restore to %s: %w", dir, err)
	}
	if d.root, err = os.OpenRoot(at); err != nil {
		return nil, fmt.Errorf("restore to %s: %w", dir, err)
	}
	return d, nil
}

func newDirectory(dir string) *Directory {
	return &Directory{dir: dir, open: map[int]*openFile{}, made: map[int]bool{}, dirs: map[string]bool{}}
}

// Work is a directory for temporary files of the restore.
func (d *Directory) Work() string { return filepath.Join(d.dir, partial) }

// Content is where the files stand until they come into place.
func (d *Directory) Content() string { return filepath.Join(d.Work(), content) }

// files are below this directory of Work, so that no name can collide with temporary files.
const content = "files"

// Create implements Sink. A file comes into being when it is written to, or in the end; a link when nothing is written any more.
func (d *Directory) Create(f snapshot.File) error {
	if f.Kind == snapshot.Link && !d.Tree {
		return fmt.Errorf("create %s: a symbolic link in a snapshot of a database: %w", f.Name, crypto.ErrDamaged)
	}
	name := path.Join(content, f.Name)
	dir := path.Dir(name)
	if f.Kind == snapshot.Dir {
		dir = name
	}
	if !d.dirs[dir] {
		if err := d.root.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create %s: %w", f.Name, err)
		}
		d.dirs[dir] = true
	}
	d.files = append(d.files, f)
	return nil
}

// Add makes a small file that no snapshot holds.
func (d *Directory) Add(name, text string, mode fs.FileMode) error {
	if err := d.Create(snapshot.File{Name: name, Kind: snapshot.Stream, Size: int64(len(text)), Mode: mode}); err != nil {
		return err
	}
	return d.WriteAt(len(d.files)-1, []byte(text), 0)
}

// Link makes a symbolic link to where. Its directory must be there.
func (d *Directory) Link(name, where string) error {
	return d.link(snapshot.File{Name: name, Kind: snapshot.Link, Link: where})
}

// WriteAt implements Sink.
func (d *Directory) WriteAt(n int, b []byte, off int64) error {
	f, err := d.acquire(n)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.files[n].Name, err)
	}
	defer d.release(f)
	if _, err := f.WriteAt(b, off); err != nil {
		return fmt.Errorf("write %s: %w", d.files[n].Name, err)
	}
	if f.dirty.Add(int64(len(b))) >= writeBehind {
		f.dirty.Store(0)
		beginWriting(f.File)
	}
	return nil
}

func (d *Directory) acquire(n int) (*openFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tick++
	f := d.open[n]
	if f == nil {
		if err := d.evict(); err != nil {
			return nil, err
		}
		file, err := d.file(n)
		if err != nil {
			return nil, err
		}
		f = &openFile{File: file}
		d.open[n] = f
	}
	f.used, f.busy = d.tick, f.busy+1
	return f, nil
}

// file opens a file, and makes it of its full size where it is not there yet; with d.mu held, or where nobody writes any more.
func (d *Directory) file(n int) (*os.File, error) {
	name := path.Join(content, d.files[n].Name)
	if d.made[n] {
		return d.root.OpenFile(name, os.O_WRONLY, 0)
	}
	flags := os.O_CREATE | os.O_EXCL | os.O_WRONLY
	if d.keeps(d.files[n]) {
		flags = os.O_WRONLY
	}
	file, err := d.root.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	d.made[n] = true
	if err := file.Truncate(d.files[n].Size); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (d *Directory) release(f *openFile) {
	d.mu.Lock()
	f.busy--
	d.mu.Unlock()
}

// evict closes the file that was not used for longest. Finish makes all files durable.
func (d *Directory) evict() error {
	if len(d.open) < maxOpen {
		return nil
	}
	oldest := -1
	for n, f := range d.open {
		if f.busy == 0 && (oldest < 0 || f.used < d.open[oldest].used) {
			oldest = n
		}
	}
	if oldest < 0 {
		return nil
	}
	f := d.open[oldest]
	delete(d.open, oldest)
	return f.Close()
}

// Close removes the partial directory, and everything if the restore did not finish. A directory that was taken over is given back
// as it was if nothing in it was changed; otherwise it stays out of its engine's reach, which the error says.
func (d *Directory) Close() error {
	for _, f := range d.open {
		_ = f.Close() // the restore failed already; the files go, or are compared again
	}
	if d.reused != nil {
		return d.leave()
	}
	err := errors.Join(d.root.Close(), os.RemoveAll(d.Work()))
	if d.created {
		_ = os.Remove(d.dir) // only if it is still empty
	}
	return err
}
