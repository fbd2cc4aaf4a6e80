package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// maxMessage bounds what one protocol message of a server may make us allocate. A base backup sends 32 KiB at a time, the
// log 128 KiB.
const maxMessage = 64 << 20

// dialTimeout bounds the wait for one server of the DSN, where the DSN does not.
const dialTimeout = 20 * time.Second

// session is one replication connection and what its server says of itself.
type session struct {
	*pgconn.PgConn
	version     int    // as server_version_num
	system      uint64 // identifier of the cluster
	timeline    uint32
	position    lsn // end of the log when the session began
	segmentSize int64
	blockSize   int
	notices     []*pgconn.Notice
	ctx         context.Context // ends it
	stop        func() bool     // ends the watch over ctx
}

// parse reads the DSN for replication connections. Errors never quote it.
func parse(dsn, password string) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDSN, withoutDSN(err))
	}
	if password != "" {
		cfg.Password = password
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = dialTimeout
	}
	// A walsender knows no extended queries, which the check of target_session_attrs would need.
	cfg.ValidateConnect = nil
	set := func(name, value string) {
		if _, ok := cfg.RuntimeParams[name]; !ok {
			cfg.RuntimeParams[name] = value
		}
	}
	set("application_name", "lifeboat")
	cfg.RuntimeParams["replication"] = "true"
	// While one connection takes the backup, the other only holds the slot.
	cfg.RuntimeParams["idle_session_timeout"] = "0"
	return cfg, nil
}

// plain are the settings of ordinary connections, before those that the owner of a database or a role may have given to it: what a statement of ours names must not be looked
// for among what somebody else made, whose code would run with our rights, and no answer may take for ever.
var plain = map[string]string{"search_path": "pg_catalog", "role": "none", "client_encoding": "UTF8", "DateStyle": "ISO, YMD", "bytea_output": "hex", "statement_timeout": "20s", "lock_timeout": "2s"}

// ordinary connects to the database of a DSN beside its replication connections.
func ordinary(ctx context.Context, replication *pgconn.Config) (*pgconn.PgConn, error) {
	cfg := replication.Copy()
	delete(cfg.RuntimeParams, "replication")
	maps.Copy(cfg.RuntimeParams, plain)
	c, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("no ordinary connection: %s", oneLine(describe("connect to", cfg, err).Error()))
	}
	return c, nil
}

// withoutDSN is why a DSN could not be read, without the DSN: what is in quotes is a part of it, perhaps of a password.
func withoutDSN(err error) string {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		why := errors.Unwrap(parse)
		if why == nil {
			text := parse.Error() // the DSN in backquotes, and words of its own
			return text[strings.LastIndex(text, "`: ")+len("`: "):]
		}
		if !strings.Contains(why.Error(), `"`) {
			return why.Error()
		}
	}
	return "it is neither a URL nor a list of key=value"
}

// servers returns cfg for each of its servers alone, so that all sessions of a view can go to the same one.
func servers(cfg *pgconn.Config) []*pgconn.Config {
	var out []*pgconn.Config
	for _, f := range append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...) {
		if n := len(out); n > 0 && out[n-1].Host == f.Host && out[n-1].Port == f.Port {
			out[n-1].Fallbacks = append(out[n-1].Fallbacks, f) // the same server without TLS
			continue
		}
		one := cfg.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = f.Host, f.Port, f.TLSConfig, nil
		out = append(out, one)
	}
	return out
}

// dialAny opens a session with the first server that answers.
func dialAny(ctx context.Context, cfg *pgconn.Config) (*session, *pgconn.Config, error) {
	var errs []error
	for _, one := range servers(cfg) {
		s, err := dial(ctx, one)
		if err == nil {
			return s, one, nil
		}
		errs = append(errs, describe("connect to", one, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, cfg, errors.Join(errs...)
}

// dial opens a replication connection that ends with ctx, and learns what server it is.
func dial(ctx context.Context, cfg *pgconn.Config) (_ *session, err error) {
	s := &session{ctx: ctx}
	cfg = cfg.Copy()
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { s.notices = append(s.notices, n) }
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(maxMessage)
		return f
	}
	if s.PgConn, err = pgconn.ConnectConfig(ctx, cfg); err != nil {
		return nil, err
	}
	// Messages are read without a context each, which would cost more than reading them.
	s.stop = context.AfterFunc(ctx, func() { _ = s.Conn().SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	return s, s.identify()
}

func (s *session) identify() (err error) {
	row, err := s.row("IDENTIFY_SYSTEM", 3)
	if err != nil {
		return err
	}
	if s.system, err = strconv.ParseUint(row[0], 10, 64); err != nil {
		return fmt.Errorf("identify the server: system %q: %w", row[0], err)
	}
	timeline, err := strconv.ParseUint(row[1], 10, 32)
	if err != nil {
		return fmt.Errorf("identify the server: timeline %q: %w", row[1], err)
	}
	s.timeline = uint32(timeline)
	if s.position, err = parseLSN(row[2]); err != nil {
		return fmt.Errorf("identify the server: %w", err)
	}
	for _, show := range []struct {
		name string
		set  func(string) error
	}{
		{"server_version_num", func(v string) (err error) { s.version, err = strconv.Atoi(v); return err }},
		{"block_size", func(v string) (err error) { s.blockSize, err = strconv.Atoi(v); return err }},
		{"wal_segment_size", func(v string) (err error) { s.segmentSize, err = parseSize(v); return err }},
	} {
		row, err := s.row("SHOW "+show.name, 1)
		if err != nil {
			return err
		}
		if err := show.set(row[0]); err != nil {
			return fmt.Errorf("identify the server: %s is %q: %w", show.name, row[0], err)
		}
	}
	if s.version < oldest {
		return fmt.Errorf("%w: it is version %d, the oldest that can be backed up is %d", ErrVersion, s.version/10000, oldest/10000)
	}
	if s.segmentSize < 1<<20 || s.segmentSize&(s.segmentSize-1) != 0 || s.blockSize < 1024 || s.blockSize > 32768 {
		return fmt.Errorf("identify the server: segments of %d bytes and blocks of %d", s.segmentSize, s.blockSize)
	}
	return nil
}

// row runs a command that answers with one row of at least n columns.
func (s *session) row(command string, n int) ([]string, error) {
	rows, err := s.rows(command)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) < n {
		return nil, fmt.Errorf("%s: an answer of %d rows", command, len(rows))
	}
	return rows[0], nil
}

func (s *session) rows(command string) ([][]string, error) {
	results, err := s.Exec(context.Background(), command).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", word(command), err)
	}
	var out [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			var fields []string
			for _, f := range row {
				fields = append(fields, string(f))
			}
			out = append(out, fields)
		}
	}
	return out, nil
}

// word is a command for messages.
func word(command string) string {
	name, _, _ := strings.Cut(command, " (")
	return name
}

// send starts a command whose answer is then received message by message.
func (s *session) send(command string) error {
	s.Frontend().Send(&pgproto3.Query{String: command})
	if err := s.Frontend().Flush(); err != nil {
		return fmt.Errorf("%s: %w", word(command), err)
	}
	return nil
}

// receive returns the next message that is no notice. An error of the server is an error.
func (s *session) receive() (pgproto3.BackendMessage, error) {
	for {
		m, err := s.ReceiveMessage(context.Background())
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, ErrBroken // nobody may take it for the end of what is read
		}
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
			continue
		case *pgproto3.ErrorResponse:
			return nil, pgconn.ErrorResponseToPgError(m)
		default:
			return m, nil
		}
	}
}

// close ends the session at once: a walsender that is busy would not listen.
func (s *session) close() {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.Close(ctx) // nothing is lost with it
}

// where is the server for messages, as the DSN names it.
func where(cfg *pgconn.Config) string {
	if strings.HasPrefix(cfg.Host, "/") {
		return fmt.Sprintf("%s/.s.PGSQL.%d", strings.TrimSuffix(cfg.Host, "/"), cfg.Port)
	}
	return net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
}

// parseSize reads a size as SHOW prints it.
func parseSize(s string) (int64, error) {
	for suffix, unit := range map[string]int64{"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			v, err := strconv.ParseInt(n, 10, 64)
			return v * unit, err
		}
	}
	return strconv.ParseInt(s, 10, 64)
}

// lsn is a position in the log.
type lsn uint64

// String is the form that PostgreSQL prints.
func (l lsn) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

func parseLSN(s string) (lsn, error) {
	hi, lo, ok := strings.Cut(s, "/")
	h, err1 := strconv.ParseUint(hi, 16, 32)
	l, err2 := strconv.ParseUint(lo, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("position %q is not of the form 0/16B3748", s)
	}
	return lsn(h<<32 | l), nil
}
