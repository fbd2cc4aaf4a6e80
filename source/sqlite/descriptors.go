package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// When a process closes any descriptor of a file, it loses all its POSIX locks on that file, those that SQLite took
// through other descriptors included (https://sqlite.org/howtocorrupt.html section 2.2). So descriptors of a database
// and of its -shm are opened here alone, shared by everything in the process that has this database open, and closed
// when the last of these users is gone, after its SQLite connection.

// inode identifies a file whatever its names.
type inode struct{ dev, ino uint64 }

func inodeOf(info fs.FileInfo) (inode, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, fmt.Errorf("identify %s: this system has no inode numbers", info.Name())
	}
	return inode{uint64(st.Dev), st.Ino}, nil
}

// descriptors is the process-wide registry; POSIX locks belong to the process, so it must be one.
var descriptors = registry{databases: map[inode]*descriptorSet{}}

type registry struct {
	mu        sync.Mutex
	databases map[inode]*descriptorSet
}

// descriptorSet is the descriptors of one database, its -wal and its -shm. The log can be another file later, so
// there may be more than two besides the database.
type descriptorSet struct {
	id    inode
	users int
	db    *os.File
	side  map[inode]*os.File
}

// acquire opens the database, or shares what is open. The caller releases the set after it has closed its connection.
func (r *registry) acquire(path string) (*descriptorSet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	id, err := inodeOf(info)
	if err != nil {
		return nil, err
	}
	if set := r.databases[id]; set != nil {
		set.users++
		return set, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = errors.New("the file was replaced while it was being opened")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	set := &descriptorSet{id: id, users: 1, db: f, side: map[inode]*os.File{}}
	r.databases[id] = set
	return set, nil
}

// open opens the -wal or -shm that path names at the moment, or shares the descriptor of a set's other user.
func (r *registry) open(set *descriptorSet, path string) (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	id, err := inodeOf(info)
	if err != nil {
		return nil, err
	}
	if f := set.side[id]; f != nil {
		return f, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	set.side[id] = f
	return f, nil
}

// release ends one use of a set and closes the descriptors with the last.
func (r *registry) release(set *descriptorSet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	set.users--
	if set.users > 0 {
		return nil
	}
	delete(r.databases, set.id)
	err := set.db.Close()
	for _, f := range set.side {
		err = errors.Join(err, f.Close())
	}
	return err
}
