package sqlite

import (
	"errors"
	"fmt"
	"io/fs"

	driver "modernc.org/sqlite"
	engine "modernc.org/sqlite/lib"
)

// Why a database cannot be used. Test with errors.Is.
var (
	ErrNotDatabase = errors.New("not a SQLite database")
	ErrEmpty       = errors.New("an empty file, a database that nothing was written to yet")
	ErrCorrupt     = errors.New("the database is damaged")
	ErrBusy        = errors.New("another process keeps the database locked")
	ErrHotJournal  = errors.New("a crashed writer left an unfinished transaction in the rollback journal")
	ErrOwnership   = errors.New("the -wal and -shm files would belong to this user, and the database's owner could not open them")
	ErrNoSpace     = errors.New("not enough room for the temporary copy")
	ErrMaxLock     = errors.New("the copy did not finish within the longest lock allowed")
	ErrLost        = errors.New("the pinned state was overwritten while it was read")
	ErrClosed      = errors.New("the view is closed")
	ErrReserved    = errors.New("each page ends with bytes that SQLite does not write itself, such as checksums, and a row would make them wrong")
	ErrSealed      = errors.New("the mode of the file lets nobody write to it")
	ErrTable       = errors.New("the table lifeboat_canary is not as it was made")
)

// hints say what to do next, for each reason that has an answer. %s is the path.
var hints = []struct {
	reason error
	hint   string
}{
	{ErrNotDatabase, "give the path of the database file itself; an encrypted one must be dumped by its application and backed up as files"},
	{ErrEmpty, "check the path, or let the application create its tables first"},
	{ErrCorrupt, "run `sqlite3 %s 'PRAGMA integrity_check'`, and restore the newest good snapshot if that fails"},
	{ErrBusy, "retry when the other process is done, and see that it does not set locking_mode=EXCLUSIVE"},
	{ErrHotJournal, "start the application once, or run `sqlite3 %s 'SELECT 1 FROM sqlite_schema'` as its user, so that it is rolled back"},
	{ErrOwnership, "run as root or as the owner of %s, or back up while the application has it open"},
	{ErrNoSpace, "free space, name another temporary directory, or run `sqlite3 %s 'PRAGMA journal_mode=WAL'`, which needs no copy"},
	{ErrMaxLock, "run `sqlite3 %s 'PRAGMA journal_mode=WAL'`, allow a longer lock, or back up at a quieter time"},
	{ErrLost, "take the snapshot again; nothing else in this process may open and close %s or its -wal and -shm"},
	{ErrReserved, "take canary out of the policy"},
	{ErrSealed, "chmod u+w %s, or take canary out of the policy"},
	{ErrTable, "run `sqlite3 %s 'DROP TABLE lifeboat_canary'`: it is made anew"},
	{fs.ErrNotExist, "check the path"},
	{fs.ErrPermission, "give this user read access to %s and its -wal, and write access to its -shm and directory; or run as root"},
}

// Error says what was being done to which database and why it failed; its text ends with what to do next.
type Error struct {
	Op   string // a verb
	Path string
	Err  error
	Hint string // empty where there is no advice
}

// Error is one line, or two where there is a hint.
func (e *Error) Error() string {
	text := e.Op + " " + e.Path + ": " + e.Err.Error()
	if e.Hint != "" {
		text += "\nhint: " + e.Hint
	}
	return text
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// describe makes an *Error of err, translating SQLite's result codes (https://sqlite.org/rescode.html) into sentinels.
func describe(op, path string, err error) error {
	if done := (*Error)(nil); errors.As(err, &done) {
		return err
	}
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) && pathErr.Path == path {
		err = pathErr.Err // the path is said once
	}
	err = translate(err)
	e := &Error{Op: op, Path: path, Err: err}
	for _, h := range hints {
		if errors.Is(err, h.reason) {
			e.Hint = h.hint
			break
		}
	}
	e.Hint = addPath(e.Hint, path)
	return e
}

func addPath(hint, path string) string {
	for i := 0; i+1 < len(hint); i++ {
		if hint[i:i+2] == "%s" {
			return hint[:i] + path + hint[i+2:]
		}
	}
	return hint
}

// translate wraps the sentinel that belongs to SQLite's result code around its message.
func translate(err error) error {
	var e *driver.Error
	if !errors.As(err, &e) {
		return err
	}
	reason := map[int]error{
		engine.SQLITE_NOTADB:   ErrNotDatabase,
		engine.SQLITE_CORRUPT:  ErrCorrupt,
		engine.SQLITE_BUSY:     ErrBusy,
		engine.SQLITE_LOCKED:   ErrBusy,
		engine.SQLITE_PROTOCOL: ErrBusy,
		engine.SQLITE_CANTOPEN: fs.ErrPermission,
		engine.SQLITE_PERM:     fs.ErrPermission,
		engine.SQLITE_AUTH:     fs.ErrPermission,
		engine.SQLITE_READONLY: fs.ErrPermission,
	}[e.Code()&0xff]
	if e.Code() == engine.SQLITE_READONLY_ROLLBACK {
		reason = ErrHotJournal
	}
	if reason == nil {
		return err
	}
	return fmt.Errorf("%w (%w)", reason, err)
}

func notDatabase(why string) error { return fmt.Errorf("%w: %s", ErrNotDatabase, why) }

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
