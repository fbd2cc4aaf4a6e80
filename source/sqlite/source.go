// Package sqlite takes consistent snapshots of a live SQLite database that another process writes, page by page, and
// checks restored ones.
//
// In WAL mode it never blocks the writer: a read transaction of a read-only connection pins a state, and the pages are
// then read from the files directly, the newest version in the log up to the pinned frame first, else the database file.
// Where that frame cannot be learnt, the pages come through SQLite's own pager, slower and equally right. In the
// rollback-journal modes a reader blocks the writer's commit, so the database is first copied in short locked steps.
//
// Formats: https://sqlite.org/fileformat2.html (header, log) and https://sqlite.org/walformat.html (shared memory,
// locks). Streaming the log between snapshots does not live here.
package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"lifeboat/snapshot"
)

// Options tune a Source; the zero value is sound.
type Options struct {
	// TempDir holds the unlinked copy of a database that is not in WAL mode: as many bytes as the database has. It
	// should be on a disk as private as the database's. Empty means the system's directory for temporary files.
	TempDir string
	// MaxLock bounds how long writers of a database that is not in WAL mode may be kept from committing at a stretch.
	// 0 means 5 s.
	MaxLock time.Duration
	// Canary is the name under which a row is written to the database right before each snapshot, for drills to look for; empty: nothing is written.
	Canary string
}

// pinAttempts bounds the quick tries to learn which frame a read transaction is pinned at, each some 20 µs.
const pinAttempts = 500

// Source is one database file. Its methods may be called concurrently with those of other Sources of the same file in
// this process, which share file descriptors.
type Source struct {
	path     string
	opts     Options
	attempts int // pinAttempts, or fewer in tests of what comes after
	step     int // stepSize, or less in tests with small databases
}

var _ snapshot.Source = (*Source)(nil)

// New prepares a source over the database file at path. It opens nothing yet.
func New(path string, opts Options) *Source {
	if opts.TempDir == "" {
		opts.TempDir = os.TempDir()
	}
	if opts.MaxLock <= 0 {
		opts.MaxLock = 5 * time.Second
	}
	return &Source{path: path, opts: opts, attempts: pinAttempts, step: stepSize}
}

// errModeChanged says that the journal mode changed between looking and locking.
var errModeChanged = errors.New("the journal mode is being changed")

// Open pins the database's newest committed state. The prior snapshot makes no difference: every view holds all pages. Errors are
// *Error and wrap the sentinels of this package, or fs.ErrNotExist and fs.ErrPermission.
//
// The view has one item. Its Body must be read by one goroutine, and checks at its end that the state was pinned
// throughout: until it has returned io.EOF, nothing that it yielded may be relied upon.
func (s *Source) Open(ctx context.Context, _ *snapshot.Prior) (snapshot.View, error) {
	var v *view
	var err error
	for range 3 { // each with a row of its own, where one is written
		if v, err = s.open(ctx); !errors.Is(err, errModeChanged) {
			break
		}
	}
	if err != nil {
		return nil, describe("snapshot", s.path, err)
	}
	return v, nil
}

func (s *Source) open(ctx context.Context) (v *view, err error) {
	ses, err := openSession(ctx, s.path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ses.close())
		}
	}()
	wal, err := ses.probe(ctx)
	if err != nil {
		return nil, err
	}
	canary, findings := s.canary(ctx, ses, wal)
	if wal {
		v, err = openWAL(ctx, ses, s.attempts)
	} else {
		v, err = openRollback(ctx, ses, s.opts, s.step)
	}
	if err != nil {
		return nil, err
	}
	v.canary, v.findings = canary, findings
	return v, nil
}

// cleanName is a file name that every file system and shell can take.
var cleanName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// itemName is the name of the database in the snapshot and so of the restored file: its own, where that is harmless.
func itemName(path string) string {
	base := filepath.Base(path)
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if strings.HasSuffix(base, suffix) {
			return "database.sqlite"
		}
	}
	if !cleanName.MatchString(base) {
		return "database.sqlite"
	}
	return base
}

// resolve is the file that SQLite would open for path: symbolic links followed, because -wal and -shm stand beside
// their end. It refuses what is no regular file.
func resolve(path string) (string, fs.FileInfo, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", nil, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", nil, err
	}
	if !info.Mode().IsRegular() {
		return "", nil, notDatabase("it is no regular file (" + info.Mode().Type().String() + ")")
	}
	return abs, info, nil
}
