package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"lifeboat/internal/atomicfile"
	"lifeboat/snapshot"
)

// Finish implements Sink: files and directories become durable, then they move from the partial directory into place.
func (d *Directory) Finish(ctx context.Context) error {
	for n, f := range d.open {
		if err := f.Close(); err != nil {
			return fmt.Errorf("write %s: %w", d.files[n].Name, err)
		}
	}
	clear(d.open)
	if d.Prepare != nil {
		if err := d.prepare(ctx); err != nil {
			return err
		}
	}
	if err := d.finishFiles(ctx); err != nil {
		return err
	}
	if err := d.finishLinks(); err != nil {
		return err
	}
	if err := d.finishDirs(); err != nil {
		return err
	}
	if d.Owner != nil {
		if err := os.Lchown(d.dir, d.Owner.UID, d.Owner.GID); err != nil {
			return fmt.Errorf("restore to %s: %w", d.dir, err)
		}
	}
	if err := d.place(); err != nil {
		return err
	}
	d.finished = true
	return nil
}

// prepare lets the engine change the files, and goes on with what it leaves.
func (d *Directory) prepare(ctx context.Context) error {
	for n, f := range d.files {
		if f.Kind == snapshot.Dir {
			continue
		}
		file, err := d.file(n) // which nobody wrote to may not be there yet
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
	}
	if err := d.give(); err != nil {
		return err
	}
	if err := d.Prepare(ctx, d.Content()); err != nil {
		return err
	}
	clear(d.made)
	clear(d.dirs)
	d.files = nil
	return fs.WalkDir(d.root.FS(), content, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == content {
			return err
		}
		f := snapshot.File{Name: strings.TrimPrefix(name, content+"/"), Kind: snapshot.Stream, Mode: 0o600}
		switch {
		case e.IsDir():
			f.Kind, f.Mode = snapshot.Dir, 0o700
		case !e.Type().IsRegular():
			return fmt.Errorf("restore %s: it is neither a file nor a directory", f.Name)
		default:
			d.made[len(d.files)] = true
		}
		d.files = append(d.files, f)
		return nil
	})
}

// give lets the owner reach the files before they are in place: the engine's programs run as nobody else.
func (d *Directory) give() error {
	if d.Owner == nil {
		return nil
	}
	for _, dir := range []string{d.dir, d.Work()} {
		if err := os.Lchown(dir, d.Owner.UID, d.Owner.GID); err != nil {
			return fmt.Errorf("restore to %s: %w", d.dir, err)
		}
	}
	return fs.WalkDir(d.root.FS(), content, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = d.root.Lchown(name, d.Owner.UID, d.Owner.GID)
		}
		return err
	})
}

// syncs is how many files become durable at once: a disk does several in the time of one.
const syncs = 8

// finishFiles makes what nobody wrote to, and all files durable.
func (d *Directory) finishFiles(ctx context.Context) error {
	g, work := errgroup.WithContext(ctx)
	g.SetLimit(syncs)
	for n, f := range d.files {
		if f.Kind == snapshot.Dir || f.Kind == snapshot.Link {
			continue
		}
		if work.Err() != nil {
			break // somebody failed, or gave up
		}
		file, err := d.file(n)
		if err != nil {
			return errors.Join(fmt.Errorf("restore %s: %w", f.Name, err), g.Wait())
		}
		g.Go(func() error {
			if err := d.attributes(file, f); err != nil {
				return fmt.Errorf("restore %s: %w", f.Name, err)
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), ctx.Err())
}

// finishLinks makes the links, when all files are closed: nothing is written through them.
func (d *Directory) finishLinks() error {
	for _, f := range d.files {
		if f.Kind != snapshot.Link {
			continue
		}
		if err := d.link(f); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) link(f snapshot.File) error {
	name := path.Join(content, f.Name)
	err := d.root.Symlink(f.Link, name)
	if o := d.owner(f); err == nil && o != nil {
		err = d.root.Lchown(name, o.UID, o.GID)
	}
	if err == nil && !f.ModTime.IsZero() {
		err = d.linkTime(name, f.ModTime)
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", f.Name, err)
	}
	return nil
}

// linkTime gives a link its own time, not what it leads to.
func (d *Directory) linkTime(name string, at time.Time) error {
	stamp, err := unix.TimeToTimespec(at)
	if err != nil {
		return err
	}
	dir, err := d.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	err = unix.UtimesNanoAt(int(dir.Fd()), path.Base(name), []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
	return errors.Join(err, dir.Close())
}

// finishDirs gives the directories their attributes and makes them durable: what is in one before itself, and those that no entry names before
// all, because a mode may close what is below it.
func (d *Directory) finishDirs() error {
	listed, seen := map[string]bool{}, map[string]bool{}
	for _, f := range d.files {
		if f.Kind == snapshot.Dir {
			listed[path.Join(content, f.Name)] = true
		}
	}
	for name := range d.dirs {
		for ; name != "." && !seen[name]; name = path.Dir(name) {
			seen[name] = true
			if listed[name] {
				continue
			}
			if err := d.finishDir(name, snapshot.File{Name: name, Mode: 0o700}); err != nil {
				return err
			}
		}
	}
	for _, f := range slices.Backward(d.files) {
		if f.Kind != snapshot.Dir {
			continue
		}
		if err := d.finishDir(path.Join(content, f.Name), f); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) finishDir(name string, f snapshot.File) error {
	file, err := d.root.Open(name)
	if err == nil {
		err = d.attributes(file, f)
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	return nil
}

// owner is whom a file shall belong to; nil: whoever restores.
func (d *Directory) owner(f snapshot.File) *Owner {
	if d.Owner != nil || f.Owner == nil || !d.Tree || os.Geteuid() != 0 {
		return d.Owner
	}
	return &Owner{UID: int(f.Owner.UID), GID: int(f.Owner.GID)}
}

// attributes gives a file its owner, time and mode, makes it durable with them, and closes it.
func (d *Directory) attributes(file *os.File, f snapshot.File) (err error) {
	if o := d.owner(f); o != nil {
		err = file.Chown(o.UID, o.GID)
	}
	if !f.ModTime.IsZero() {
		err = errors.Join(err, d.root.Chtimes(path.Join(content, f.Name), time.Time{}, f.ModTime))
	}
	return errors.Join(err, file.Chmod(f.Mode.Perm()), file.Sync(), file.Close())
}

// place moves what stands at the top of the content into the directory itself: the key once all else is durable there.
func (d *Directory) place() error {
	from := filepath.Join(d.Work(), content)
	entries, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore to %s: %w", d.dir, err)
	}
	last := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == d.Key })
	if last >= 0 {
		entries = append(slices.Delete(slices.Clone(entries), last, last+1), entries[last])
	}
	for _, e := range entries {
		to := filepath.Join(d.dir, e.Name())
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restore to %s: %s appeared there meanwhile: restore into another directory", d.dir, e.Name())
		}
		if e.Name() == d.Key {
			if err := atomicfile.SyncDir(d.dir); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(from, e.Name()), to); err != nil {
			return fmt.Errorf("restore to %s: %w", d.dir, err)
		}
	}
	if err := atomicfile.SyncDir(d.dir); err != nil {
		return err
	}
	if d.created {
		d.created = false // it stays
		return atomicfile.SyncDir(filepath.Dir(filepath.Clean(d.dir)))
	}
	return nil
}
