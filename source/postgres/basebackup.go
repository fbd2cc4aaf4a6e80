package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// baseBackup is a running BASE_BACKUP: tar archives, one after another, then where the log ends that makes them consistent.
// https://www.postgresql.org/docs/current/protocol-replication.html
type baseBackup struct {
	*session
	start, end  lsn
	tablespaces []tablespace
	size        int64 // estimate of all archives, bytes

	framed   bool   // from version 15 on one stream holds all archives
	data     []byte // of the message at hand
	next     string // archive that begins next, where framed
	archives int    // begun
	more     bool   // archives follow
	inside   bool   // of an archive
}

// tablespace is a directory outside of the data directory.
type tablespace struct {
	OID      uint32 `json:"oid"`
	Location string `json:"location"`
}

// errProtocol is wrapped where a server answers what the protocol does not allow.
var errProtocol = errors.New("the server's answer does not follow the protocol")

// begin asks for a base backup, of the changes only where a manifest was uploaded before. Its archives must be read to their
// ends, then finish called.
func (b *baseBackup) begin(label string, changes bool) error {
	b.framed, b.more = b.version >= 150000, true
	command := fmt.Sprintf("BASE_BACKUP LABEL '%s' PROGRESS FAST NOWAIT TABLESPACE_MAP", label)
	if b.framed {
		command = fmt.Sprintf("BASE_BACKUP (LABEL '%s', PROGRESS, CHECKPOINT 'fast', WAIT false, TABLESPACE_MAP, MANIFEST 'no'", label)
		if changes {
			command += ", INCREMENTAL"
		}
		command += ")"
	}
	if err := b.send(command); err != nil {
		return err
	}
	rows, err := b.result()
	if err != nil {
		return err
	}
	if b.start, b.timeline, err = position(rows); err != nil {
		return err
	}
	if rows, err = b.result(); err != nil {
		return err
	}
	return b.header(rows)
}

// header reads the list of tablespaces; the data directory is the one without an OID.
func (b *baseBackup) header(rows [][]string) error {
	for _, row := range rows {
		if len(row) < 3 {
			return fmt.Errorf("base backup: a tablespace of %d columns: %w", len(row), errProtocol)
		}
		if kb, err := strconv.ParseInt(row[2], 10, 53); err == nil {
			b.size += kb << 10
		}
		if row[0] == "" {
			b.tablespaces = append(b.tablespaces, tablespace{})
			continue
		}
		oid, err := strconv.ParseUint(row[0], 10, 32)
		if err != nil || oid == 0 {
			return fmt.Errorf("base backup: tablespace %q: %w", row[0], errProtocol)
		}
		b.tablespaces = append(b.tablespaces, tablespace{uint32(oid), row[1]})
	}
	return nil
}

// position reads the row (LSN, timeline).
func position(rows [][]string) (lsn, uint32, error) {
	if len(rows) != 1 || len(rows[0]) < 2 {
		return 0, 0, fmt.Errorf("base backup: no position: %w", errProtocol)
	}
	at, err := parseLSN(rows[0][0])
	timeline, err2 := strconv.ParseUint(rows[0][1], 10, 32)
	if err = errors.Join(err, err2); err != nil {
		return 0, 0, fmt.Errorf("base backup: position: %w: %w", errProtocol, err)
	}
	return at, uint32(timeline), nil
}

// result receives one result set. A keepalive that was under way when the stream before it ended may come first.
func (b *baseBackup) result() (rows [][]string, err error) {
	for {
		m, err := b.receive()
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.RowDescription:
		case *pgproto3.DataRow:
			var row []string
			for _, v := range m.Values {
				row = append(row, string(v))
			}
			rows = append(rows, row)
		case *pgproto3.CommandComplete:
			return rows, nil
		case *pgproto3.CopyData:
			if len(m.Data) == 0 || m.Data[0] != 'k' {
				return nil, fmt.Errorf("more of a stream that ended: %w", errProtocol)
			}
		default:
			return nil, fmt.Errorf("%T of a result: %w", m, errProtocol)
		}
	}
}

// archive begins the next archive and returns the OID of its tablespace, 0 for the data directory; io.EOF after the last.
func (b *baseBackup) archive() (oid uint32, err error) {
	if _, err := io.Copy(io.Discard, b); err != nil { // what tar left of the one before
		return 0, err
	}
	if !b.framed {
		return b.unframed()
	}
	for b.next == "" && b.more {
		if err := b.message(); err != nil {
			return 0, err
		}
		if len(b.data) > 0 {
			return 0, fmt.Errorf("base backup: data before an archive: %w", errProtocol)
		}
	}
	if !b.more {
		return 0, io.EOF
	}
	name := b.next
	b.next, b.inside = "", true
	if name == "base.tar" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(name, ".tar"), 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("base backup: archive %q: %w", name, errProtocol)
	}
	return uint32(n), nil
}

// unframed begins an archive as servers before version 15 send them: in the order of the list of tablespaces.
func (b *baseBackup) unframed() (uint32, error) {
	if b.archives == len(b.tablespaces) {
		b.more = false
		return 0, io.EOF
	}
	m, err := b.receive()
	if err != nil {
		return 0, err
	}
	if _, ok := m.(*pgproto3.CopyOutResponse); !ok {
		return 0, fmt.Errorf("base backup: %T instead of an archive: %w", m, errProtocol)
	}
	b.archives++
	b.inside = true
	return b.tablespaces[b.archives-1].OID, nil
}

// Read reads the archive that was begun.
func (b *baseBackup) Read(p []byte) (int, error) {
	for len(b.data) == 0 {
		if !b.inside {
			return 0, io.EOF
		}
		if err := b.message(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// message receives one message of the copy; inside and more say what follows.
func (b *baseBackup) message() error {
	m, err := b.receive()
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *pgproto3.CopyOutResponse:
		if b.framed && !b.inside {
			return nil
		}
	case *pgproto3.CopyDone:
		b.inside, b.more = false, !b.framed
		return nil
	case *pgproto3.CopyData:
		if !b.framed {
			b.data = m.Data
			return nil
		}
		return b.frame(m.Data)
	}
	return fmt.Errorf("base backup: %T in the middle: %w", m, errProtocol)
}

// frame reads a message whose first byte says what it is.
func (b *baseBackup) frame(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("base backup: an empty message: %w", errProtocol)
	}
	kind, data := data[0], data[1:]
	switch kind {
	case 'n':
		name, _, ok := bytes.Cut(data, []byte{0})
		if !ok || len(name) == 0 {
			return fmt.Errorf("base backup: an archive without a name: %w", errProtocol)
		}
		b.next, b.inside = string(name), false
	case 'd':
		b.data = data
	case 'p':
	default:
		return fmt.Errorf("base backup: a message of type %q: %w", kind, errProtocol)
	}
	return nil
}

// finish receives where the backup ends, and what the server found damaged: it says so last, as an error, and everything
// was sent nevertheless.
func (b *baseBackup) finish() (damaged []string, err error) {
	rows, err := b.result()
	if err != nil {
		return nil, err
	}
	end, timeline, err := position(rows)
	if err != nil {
		return nil, err
	}
	if timeline != b.timeline || end < b.start {
		return nil, fmt.Errorf("base backup: it began at %s on timeline %d and ended at %s on %d: %w", b.start, b.timeline, end, timeline, errProtocol)
	}
	b.end = end
	for {
		m, err := b.receive()
		var e *pgconn.PgError
		if errors.As(err, &e) && e.Code == dataCorrupted {
			for _, n := range b.notices {
				damaged = append(damaged, n.Message)
			}
			return append(damaged, e.Message), nil
		}
		if err != nil {
			return nil, err
		}
		switch m.(type) {
		case *pgproto3.CommandComplete:
		case *pgproto3.ReadyForQuery:
			return nil, nil
		default:
			return nil, fmt.Errorf("base backup: %T after its end: %w", m, errProtocol)
		}
	}
}
