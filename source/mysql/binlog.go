package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"lifeboat/snapshot"
)

// The binary log: files that begin with a magic number and hold events, each with a header, and a checksum where the file's first event says so. A transaction is a group of events that begins
// with its GTID. Layouts: https://mariadb.com/docs/server/reference/clientserver-protocol/replication-protocol

// errBinlog is wrapped where a binary log cannot be read.
var errBinlog = errors.New("the binary log is not as a server writes it")

// binlogMagic begins every file.
const binlogMagic = "\xfebin"

// Of an event's header: when (seconds), its type, server, size, where it ends, flags.
const (
	headSize   = 19
	atType     = 4
	atServer   = 5
	atSize     = 9
	atEnd      = 13
	atFlags    = 17
	artificial = 0x20 // the server made it for whoever reads: it is in no file
)

// The types of events that matter here.
const (
	queryEvent           = 2
	stopEvent            = 3
	rotateEvent          = 4
	xidEvent             = 16
	formatEvent          = 15
	executeLoadEvent     = 18
	tableEvent           = 19
	heartbeatEvent       = 27
	xaPrepareEvent       = 38
	gtidEvent            = 162
	gtidListEvent        = 163
	startEncryptionEvent = 164
	queryCompressedEvent = 165
)

// standalone is the flag of a GTID whose group is one statement.
const standalone = 1

// maxEvent bounds an event, bytes: an object of the log holds it whole.
const maxEvent = 768 << 20

// header is an event's.
type header struct {
	when   time.Time // the second in which its statement began
	kind   byte
	server uint32
	size   int
	end    uint32 // where it ends in its file, modulo 2^32; 0 where the server does not say
	fake   bool
}

// readHeader reads that of an event.
func readHeader(b []byte) (h header, err error) {
	if len(b) < headSize {
		return h, fmt.Errorf("%w: an event of %d bytes", errBinlog, len(b))
	}
	h = header{when: time.Unix(int64(binary.LittleEndian.Uint32(b)), 0).UTC(), kind: b[atType], server: binary.LittleEndian.Uint32(b[atServer:]), end: binary.LittleEndian.Uint32(b[atEnd:]),
		fake: binary.LittleEndian.Uint16(b[atFlags:])&artificial != 0}
	size := binary.LittleEndian.Uint32(b[atSize:])
	if size < headSize || size > maxEvent {
		return h, fmt.Errorf("%w: an event of %d bytes", errBinlog, size)
	}
	h.size = int(size)
	return h, nil
}

// groups finds transactions in consecutive events. The zero value begins before any group, or in one, which it cannot tell.
type groups struct {
	sum int // bytes of checksum behind every event

	open       bool
	start      uint64 // of the group that is open
	when       time.Time
	id         string // its GTID
	standalone bool
	changes    changes
}

// format learns from a file's first event how the others end.
func (g *groups) format(b []byte) error {
	// Before the checksum, which this event has in any case, stands which kind the others have.
	if len(b) < headSize+5 {
		return fmt.Errorf("%w: a format description of %d bytes", errBinlog, len(b))
	}
	switch alg := b[len(b)-5]; alg {
	case 0:
		g.sum = 0
	case 1:
		g.sum = 4
	default:
		return fmt.Errorf("%w: checksums of kind %d", errBinlog, alg)
	}
	return nil
}

// event takes one event in, which lies from start to end. It returns the group that it ends, if it does.
func (g *groups) event(h header, b []byte, start, end uint64) (e snapshot.LogEvent, ended bool, err error) {
	if h.kind == formatEvent {
		g.open = false // what was open came to no end: the server died
		return e, false, g.format(b)
	}
	if len(b) < headSize+g.sum {
		return e, false, fmt.Errorf("%w: an event of %d bytes", errBinlog, len(b))
	}
	body := b[headSize : len(b)-g.sum]
	switch h.kind {
	case gtidEvent:
		if len(body) < 13 {
			return e, false, fmt.Errorf("%w: a GTID of %d bytes", errBinlog, len(body))
		}
		*g = groups{sum: g.sum, open: true, start: start, when: h.when, standalone: body[12]&standalone != 0, changes: changes{tables: g.changes.tables}}
		g.id = fmt.Sprintf("%d-%d-%d", binary.LittleEndian.Uint32(body[8:]), h.server, binary.LittleEndian.Uint64(body))
		g.changes.begin()
		return e, false, nil
	case xidEvent, xaPrepareEvent:
		ended = true
	case queryEvent:
		database, text, err := query(body)
		if err != nil {
			return e, false, err
		}
		ends := text == "COMMIT" || text == "ROLLBACK"
		if ended = g.standalone || ends; !ends && text != "BEGIN" && !strings.HasPrefix(text, "SAVEPOINT ") {
			g.changes.statement(database)
		}
	case queryCompressedEvent, executeLoadEvent:
		database, _, err := query(body)
		if err != nil {
			return e, false, err
		}
		ended = g.standalone
		g.changes.statement(database)
	default:
		g.changes.event(h.kind, body)
	}
	if !ended || !g.open {
		return e, false, nil
	}
	g.open = false
	return snapshot.LogEvent{Kind: snapshot.Commit, Start: g.start, End: end, Time: g.when, ID: g.id, Note: g.changes.note()}, true, nil
}

// query reads the default database and the text of a statement.
func query(b []byte) (database, text string, err error) {
	const fixed = 4 + 4 + 1 + 2 + 2 // thread, duration, length of the database's name, error, length of the variables
	if len(b) >= fixed {
		name, vars := int(b[8]), int(binary.LittleEndian.Uint16(b[11:]))
		if rest := b[fixed:]; len(rest) > vars+name {
			return string(rest[vars : vars+name]), string(rest[vars+name+1 : min(len(rest), vars+name+1+16)]), nil // its beginning is enough
		}
	}
	return "", "", fmt.Errorf("%w: a statement of %d bytes", errBinlog, len(b))
}

// rotation reads which file is next.
func rotation(b []byte, sum int) (file string, err error) {
	if len(b) < headSize+8+1+sum {
		return "", fmt.Errorf("%w: a rotation of %d bytes", errBinlog, len(b))
	}
	file = string(b[headSize+8 : len(b)-sum])
	if _, err := number(file); err != nil || strings.ContainsAny(file, "/\x00") {
		return "", fmt.Errorf("%w: a rotation to %.80q", errBinlog, file)
	}
	return file, nil
}

// number is that of a file of the binary log.
func number(file string) (uint64, error) {
	dot := strings.LastIndexByte(file, '.')
	n, err := strconv.ParseUint(file[dot+1:], 10, 64)
	if dot <= 0 || err != nil || n == 0 || n >= 1<<(64-snapshot.BinlogBits) {
		return 0, fmt.Errorf("%w: a file named %.80q", errBinlog, file)
	}
	return n, nil
}

// nameOf is a file of the binary log by its number.
func nameOf(base string, file uint64) string { return fmt.Sprintf("%s.%06d", base, file) }
