package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"syscall"
)

// busyWait is how long SQLite retries, in milliseconds, where another process has a lock that a reader needs.
const busyWait = 5000

// session is a read-only connection to a live database with the descriptors for reading the files beside it. The
// connection is opened with mode=ro so that it can neither checkpoint nor delete the log when it is closed.
type session struct {
	path             string // as SQLite knows it
	info             fs.FileInfo
	files            *descriptorSet
	pool             *sql.DB
	conn             *sql.Conn
	begin, look, end *sql.Stmt
	reading          bool
}

// openSession checks the file and connects. It takes no lock yet.
func openSession(ctx context.Context, path string) (s *session, err error) {
	path, info, err := resolve(path)
	if err != nil {
		return nil, err
	}
	files, err := descriptors.acquire(path)
	if err != nil {
		return nil, err
	}
	s = &session{path: path, info: info, files: files}
	defer func() {
		if err != nil {
			s, err = nil, errors.Join(err, s.close())
		}
	}()
	h, err := readHeader(files.db)
	if err != nil {
		return s, err
	}
	if h.wal() {
		if err := checkOwnership(os.Geteuid(), s.path, info); err != nil {
			return s, err
		}
	}
	return s, s.connect(ctx)
}

func (s *session) connect(ctx context.Context) error {
	dsn := dataSource(s.path, url.Values{"mode": {"ro"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", busyWait)}})
	var err error
	if s.pool, err = sql.Open("sqlite", dsn); err != nil {
		return err
	}
	if s.conn, err = s.pool.Conn(ctx); err != nil {
		return err
	}
	// A header pragma reads page 1, and with it begins the transaction, without parsing the schema.
	for _, p := range []struct {
		stmt  **sql.Stmt
		query string
	}{{&s.begin, "BEGIN"}, {&s.look, "PRAGMA schema_version"}, {&s.end, "ROLLBACK"}} {
		if *p.stmt, err = s.conn.PrepareContext(ctx, p.query); err != nil {
			return err
		}
	}
	return nil
}

// dataSource is a URI file name, https://sqlite.org/uri.html, so that no character of path has a meaning.
func dataSource(path string, query url.Values) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}
	return u.String()
}

// checkOwnership refuses to be the first to open a WAL database as somebody else: SQLite creates -wal and -shm then, and
// only root can give them to the database's owner, which SQLite does by itself.
func checkOwnership(euid int, path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || euid == 0 || uint32(euid) == st.Uid {
		return nil
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w (user %d, owner %d, no %s)", ErrOwnership, euid, st.Uid, suffix)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// start begins a read transaction: from here SQLite sees one state. On an error there is none.
func (s *session) start() error {
	if _, err := s.begin.Exec(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	s.reading = true
	var version int64
	if err := s.look.QueryRow().Scan(&version); err != nil {
		return errors.Join(fmt.Errorf("begin reading: %w", err), s.stop())
	}
	return nil
}

// stop ends the read transaction if there is one.
func (s *session) stop() error {
	if !s.reading {
		return nil
	}
	s.reading = false
	if _, err := s.end.Exec(); err != nil {
		return fmt.Errorf("end reading: %w", err)
	}
	return nil
}

// probe reads the schema once, so that damage there is found before any byte is copied, and reports whether the
// database is in WAL mode. The connection keeps the -wal and -shm in being from then on.
func (s *session) probe(ctx context.Context) (wal bool, err error) {
	var objects int64
	var mode string
	if err := s.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&objects); err != nil {
		return false, fmt.Errorf("read schema: %w", err)
	}
	if err := s.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return false, fmt.Errorf("read journal mode: %w", err)
	}
	now, err := os.Stat(s.path)
	if err != nil {
		return false, err
	}
	if !os.SameFile(now, s.info) {
		return false, errors.New("the file was replaced while it was being opened")
	}
	return mode == "wal", nil
}

// close ends the transaction and the connection, and only then gives up the descriptors.
func (s *session) close() error {
	var err error
	if s.reading {
		err = s.stop()
	}
	for _, stmt := range []*sql.Stmt{s.begin, s.look, s.end} {
		if stmt != nil { // SQLite keeps a connection, and its locks, as long as it has statements
			err = errors.Join(err, stmt.Close())
		}
	}
	if s.conn != nil {
		err = errors.Join(err, s.conn.Close())
	}
	if s.pool != nil {
		err = errors.Join(err, s.pool.Close())
	}
	return errors.Join(err, descriptors.release(s.files))
}
