package mysql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"lifeboat/internal/clock"
	"lifeboat/snapshot"
)

// dialTimeout bounds the wait for a connection.
const dialTimeout = 20 * time.Second

// session is one connection and what its server says of itself.
type session struct {
	*client.Conn
	at      *server
	version version
	secure  bool          // by TLS
	peer    int           // process at the other end of a Unix socket; 0 where nobody knows
	raw     net.Conn      // of Conn, which only the goroutine that asks may use
	limit   time.Duration // of the wait for an answer; 0: none
	stop    func() bool
}

// version is that of a server or one of its programs.
type version struct {
	text         string
	maria        bool
	major, minor int
}

// parseVersion reads a version as servers and their programs write it.
func parseVersion(text string) (v version, err error) {
	v.text, v.maria = text, strings.Contains(strings.ToLower(text), "mariadb")
	major, rest, _ := strings.Cut(strings.TrimPrefix(text, "5.5.5-"), ".") // which old clients of MariaDB's need
	minor, _, _ := strings.Cut(rest, ".")
	var err1, err2 error
	v.major, err1 = strconv.Atoi(major)
	v.minor, err2 = strconv.Atoi(minor)
	if errors.Join(err1, err2) != nil {
		return v, fmt.Errorf("%w: %q", ErrVersion, text)
	}
	return v, nil
}

// series is what must be the same of a server and its programs.
func (v version) series() string {
	name := "MySQL"
	if v.maria {
		name = "MariaDB"
	}
	return fmt.Sprintf("%s %d.%d", name, v.major, v.minor)
}

// dial opens a connection that ends with ctx.
func dial(ctx context.Context, at *server) (*session, error) {
	timeout, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("no answer within %s", dialTimeout))
	defer cancel()
	s, err := connect(timeout, at, at.tls != nil)
	if err != nil && at.plain && strings.Contains(err.Error(), "does not support TLS") {
		s, err = connect(timeout, at, false)
	}
	if err != nil {
		if timeout.Err() != nil {
			err = context.Cause(timeout)
		}
		return nil, err
	}
	s.stop = context.AfterFunc(ctx, func() { _ = s.raw.Close() }) // who waits for it is told
	rows, err := s.rows("SELECT VERSION()")
	if err == nil {
		s.version, err = parseVersion(rows[0][0])
	}
	if err == nil && !s.version.maria {
		err = hinted{fmt.Errorf("%w: %s, and only MariaDB was tried", ErrVersion, s.version.text), "Oracle MySQL is not in this version"}
	}
	if err == nil && (s.version.major < oldestMajor || s.version.major == oldestMajor && s.version.minor < oldestMinor) {
		err = fmt.Errorf("%w: %s: %d.%d is the oldest that is", ErrVersion, s.version.text, oldestMajor, oldestMinor)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// The oldest server that has BACKUP STAGE.
const (
	oldestMajor = 10
	oldestMinor = 4
)

// connect opens a connection; until it stands, the end of ctx ends it.
func connect(ctx context.Context, at *server, secure bool) (*session, error) {
	s := &session{at: at, secure: secure}
	stop := func() bool { return true }
	dialer := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s.raw, s.peer = c, peerOf(c)
		stop = context.AfterFunc(ctx, func() { _ = c.Close() }) // the handshake knows no context
		return c, nil
	}
	var err error
	s.Conn, err = client.ConnectWithDialer(ctx, at.network, at.addr, at.user, at.password, at.database, dialer, func(c *client.Conn) error {
		if secure {
			c.SetTLSConfig(at.tls)
		}
		c.SetAttributes(map[string]string{"program_name": "lifeboat"})
		return c.SetCollation("utf8mb4_general_ci") // one that every server knows: with another it falls back to its own, in silence
	})
	if !stop() && err == nil {
		err = errors.Join(context.Cause(ctx), s.Close())
	}
	return s, err
}

func (s *session) close() {
	s.stop()
	_ = s.Close() // the answers are there
}

// rows are the answer to a query.
func (s *session) rows(sql string) (out [][]string, err error) {
	if s.limit > 0 {
		_ = s.raw.SetReadDeadline(clock.System().Add(s.limit)) // of a broken connection reading says so
		defer func() { _ = s.raw.SetReadDeadline(time.Time{}) }()
	}
	r, err := s.Execute(sql)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Resultset == nil {
		return nil, nil
	}
	for i := range r.RowNumber() {
		row := make([]string, r.ColumnNumber())
		for j := range row {
			v, err := r.GetString(i, j)
			if err != nil {
				return nil, err
			}
			row[j] = strings.Clone(v) // it stands in memory that the next answer may use
		}
		out = append(out, row)
	}
	return out, nil
}

// value is the one field of the one row of an answer.
func (s *session) value(sql string) (string, error) {
	rows, err := s.rows(sql)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", fmt.Errorf("the answer to %s has %d rows", sql, len(rows))
	}
	return rows[0][0], nil
}

// variables are the settings of the server.
func (s *session) variables() (map[string]string, error) {
	rows, err := s.rows("SHOW GLOBAL VARIABLES")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range rows {
		out[r[0]] = r[1]
	}
	return out, nil
}

// local is a server whose files stand here.
type local struct {
	server *server // through its socket
	data   string  // data directory
	size   int64   // of the files in it, about, bytes
}

// beside finds the server's own socket and files on this host. A path alone proves nothing: behind a tunnel another server may have the same one, and its
// files would be taken for those of the server that is asked for its position. So it must be one server that answers both connections, and the process at
// the other end of the socket must work in the data directory.
func (s *session) beside(ctx context.Context) (*local, error) {
	remote := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrRemote, fmt.Errorf(format, args...))
	}
	rows, err := s.rows("SELECT @@datadir, @@socket, CONNECTION_ID()")
	if err != nil {
		return nil, err
	}
	l := &local{data: filepath.Clean(rows[0][0])}
	socket := rows[0][1]
	if !filepath.IsAbs(socket) {
		socket = filepath.Join(l.data, socket)
	}
	at := *s.at
	at.network, at.addr, at.tls, at.plain = "unix", socket, nil, false
	l.server = &at
	second, err := dial(ctx, l.server)
	if err != nil {
		return nil, remote("its socket %s: %w", socket, err)
	}
	defer second.close()
	token := "lifeboat_" + rand.Text()
	if _, err := s.value("SELECT GET_LOCK('" + token + "', 0)"); err != nil {
		return nil, err
	}
	holder, err := second.value("SELECT COALESCE(IS_USED_LOCK('" + token + "'), 0)")
	if err != nil {
		return nil, err
	}
	if _, err := s.value("SELECT RELEASE_LOCK('" + token + "')"); err != nil {
		return nil, err
	}
	if holder != rows[0][2] {
		return nil, remote("another server listens on %s", socket)
	}
	works, err := os.Stat(filepath.Join("/proc", strconv.Itoa(second.peer), "cwd"))
	if err != nil {
		return nil, remote("the process that listens on %s: %w", socket, err)
	}
	here, err := os.Stat(l.data)
	if err != nil {
		return nil, remote("%w", err)
	}
	if !os.SameFile(works, here) {
		return nil, remote("%s on this host is not where the server works", l.data)
	}
	l.size, err = sizeOf(l.data)
	if err != nil {
		return nil, remote("%w", err)
	}
	return l, nil
}

// movable makes sure that the server's files can stand in any one directory: a restored server that knew where files of the original stand, outside of its data directory, would open those.
func (s *session) movable() error {
	files := "FILENAME FROM information_schema.INNODB_SYS_TABLESPACES"
	if s.version.major == oldestMajor && s.version.minor < 6 {
		files = "PATH FROM information_schema.INNODB_SYS_DATAFILES"
	}
	row, err := s.rows(`SELECT @@innodb_data_file_path, (SELECT GROUP_CONCAT(f SEPARATOR ', ') FROM (SELECT ` + strings.Replace(files, " ", " AS f ", 1) + `) files WHERE f LIKE '/%'),
		(SELECT COUNT(*) FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE CURRENT_KEY_VERSION > 0)`)
	if err != nil {
		return err
	}
	elsewhere := func(what string) error {
		return hinted{fmt.Errorf("%w: %s", ErrLayout, what), "take logical snapshots (mode: logical)"}
	}
	switch r := row[0]; { // one row always
	case strings.Contains(r[0], "/"):
		return elsewhere("innodb_data_file_path leads out of the data directory: " + r[0])
	case r[1] != "":
		return elsewhere("tables stand outside of the data directory: " + r[1][:min(len(r[1]), 300)])
	case r[2] != "0":
		return elsewhere(r[2] + " tablespaces are encrypted with keys that a snapshot does not hold")
	}
	return nil
}

// sizeOf adds up the files of a data directory that a snapshot holds, about, and makes sure that it can be read.
func sizeOf(dir string) (size int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case errors.Is(err, os.ErrNotExist): // it went meanwhile
		case err != nil:
			return 0, err
		case e.IsDir():
			below, err := sizeOf(filepath.Join(dir, e.Name()))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return 0, err
			}
			size += below
		case inPages(e.Name()) != 0:
			size += info.Size()
		}
	}
	return size, nil
}

// position is where the binary log of a snapshot's end is.
func (m *Manifest) position(line uint64) (snapshot.Pos, error) {
	if m.File == "" {
		return snapshot.Pos{}, nil
	}
	file, err := number(m.File)
	if err == nil && m.Position >= 1<<snapshot.BinlogBits {
		err = fmt.Errorf("%w: position %d", errBinlog, m.Position)
	}
	return snapshot.Pos{Line: line, Offset: snapshot.BinlogOffset(file, m.Position)}, err
}

// firstLine is the line of the log in which capture begins.
const firstLine = 1
