package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"lifeboat/internal/clock"
	"lifeboat/snapshot"
)

// silence is how long a server may say nothing; signOfLife is how often it says that there is nothing.
const (
	silence    = 2 * time.Minute
	signOfLife = time.Second
)

// dump is the binary log as a server sends it to replicas.
type dump struct {
	*session
	at     uint64 // offset of the next event
	sum    int    // bytes of checksum behind each
	format []byte // the newest format description
	packet room
}

// room holds one packet.
type room struct{ bytes.Buffer }

func (r *room) Write(b []byte) (int, error) {
	if r.Len()+len(b) > maxEvent {
		return 0, fmt.Errorf("%w: an event of more than %d bytes", errBinlog, maxEvent)
	}
	return r.Buffer.Write(b)
}

// Flags of COM_BINLOG_DUMP.
const (
	endAtEnd       = 1
	annotateEvents = 2
)

// beginDump asks for the binary log from an event on; with wait it goes on for ever, else to where the log ends now. The events are those of the server's files, byte for byte.
func (s *session) beginDump(base string, from uint64, wait bool) (*dump, error) {
	d := &dump{session: s, at: from}
	flags := uint16(annotateEvents)
	// Whoever does not say that it understands checksums is sent events without them.
	settings := "SET @master_binlog_checksum = 'CRC32', @mariadb_slave_capability = 4, SESSION net_write_timeout = 600"
	if wait {
		settings += fmt.Sprintf(", @master_heartbeat_period = %d", signOfLife.Nanoseconds())
	} else {
		flags |= endAtEnd
	}
	if _, err := s.rows(settings); err != nil {
		return nil, err
	}
	file, pos := snapshot.SplitBinlog(from)
	if pos = max(pos, uint64(len(binlogMagic))); pos > math.MaxUint32 { // the command has no more room
		pos = uint64(len(binlogMagic))
	}
	d.at = snapshot.BinlogOffset(file, pos)
	b := make([]byte, 4, 64)
	b = append(b, mysql.COM_BINLOG_DUMP)
	b = binary.LittleEndian.AppendUint32(b, uint32(pos))
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint32(b, rand.Uint32()|1<<31) // two replicas with the same number would throw each other out
	s.ResetSequence()
	return d, s.WritePacket(append(b, nameOf(base, file)...))
}

var errCut = errors.New("the connection to the server ended")

// received is what comes with one packet.
type received struct {
	header
	event      []byte // valid until the next; nil: nothing came (kind heartbeatEvent), or the log goes on in the next file (kind rotateEvent)
	start, end uint64 // offsets
}

// next waits for what comes next; io.EOF at the end of a log that is not waited for.
func (d *dump) next() (r received, err error) {
	for {
		_ = d.raw.SetReadDeadline(clock.System().Add(silence)) // of a broken connection reading says so
		d.packet.Reset()
		if err := d.ReadPacketTo(&d.packet); err != nil {
			if errors.Is(err, mysql.ErrBadConn) {
				err = fmt.Errorf("%w: it was stopped, or what lies between is broken", errCut)
			}
			return r, err
		}
		b := d.packet.Bytes()
		switch {
		case len(b) > 0 && b[0] == mysql.OK_HEADER:
			b = b[1:]
		case len(b) > 0 && b[0] == mysql.ERR_HEADER:
			return r, d.HandleErrorPacket(b)
		case len(b) > 0 && len(b) < 9 && b[0] == mysql.EOF_HEADER:
			return r, io.EOF
		default:
			return r, fmt.Errorf("%w: a packet of %d bytes", errBinlog, len(b))
		}
		r, known, err := d.take(b)
		if err != nil || known {
			return r, err
		}
	}
}

// take looks at one event, and reports whether it is one for who asks.
func (d *dump) take(b []byte) (r received, known bool, err error) {
	if r.header, err = readHeader(b); err != nil {
		return r, false, err
	}
	file, pos := snapshot.SplitBinlog(d.at)
	switch {
	case r.size != len(b):
		return r, false, fmt.Errorf("%w: an event of %d bytes that says it has %d", errBinlog, len(b), r.size)
	case r.kind == heartbeatEvent:
		return r, true, nil
	case r.kind == rotateEvent && (r.fake || r.when.Unix() == 0):
		name, err := rotation(b, d.fakeSum(b))
		if err != nil {
			return r, false, err
		}
		next, _ := number(name) // it was read
		if next == file {
			return r, false, nil
		}
		if next != file+1 {
			return r, false, fmt.Errorf("%w: file %d follows %d", errBinlog, next, file)
		}
		r.start, r.end = d.at, snapshot.BinlogOffset(next, 0)
		d.at = snapshot.BinlogOffset(next, uint64(len(binlogMagic)))
		return r, true, nil
	case r.kind == formatEvent:
		g := groups{}
		if err := g.format(b); err != nil {
			return r, false, err
		}
		d.sum, d.format = g.sum, bytes.Clone(b)
		if r.header.end == 0 { // in a place where it stands in no file
			return r, false, nil
		}
	case r.fake:
		return r, false, nil
	case r.kind == startEncryptionEvent:
		return r, false, errEncrypted
	}
	r.start, r.end = d.at, d.at+uint64(len(b))
	_, at := snapshot.SplitBinlog(r.end)
	if r.header.end != 0 && r.header.end != uint32(at) {
		if r.header.end == uint32(at)+encryptionSize && pos == uint64(len(binlogMagic)+len(d.format)) {
			return r, false, errEncrypted
		}
		return r, false, fmt.Errorf("%w: an event that ends at %d of file %d came where one to %d was due", errBinlog, r.header.end, file, at)
	}
	if sum := len(b) - 4; d.sum == 4 && crc32.ChecksumIEEE(b[:sum]) != binary.LittleEndian.Uint32(b[sum:]) {
		return r, false, fmt.Errorf("%w: the checksum of the event at %d of file %d is wrong", errBinlog, pos, file)
	}
	d.at, r.event = r.end, b
	return r, true, nil
}

// encryptionSize is that of the event of an encrypted file that the server keeps to itself, with its checksum.
const encryptionSize = headSize + 1 + 4 + 12 + 4

var errEncrypted = hinted{fmt.Errorf("%w: its files are encrypted, and what the server sends is not what stands in them", errBinlog), "SET encrypt_binlog = OFF in the server's configuration and restart it, or take snapshots only"}

// fakeSum is how many bytes of checksum an event has that the server made: before the first format description it may have none.
func (d *dump) fakeSum(b []byte) int {
	if sum := len(b) - 4; sum > headSize && crc32.ChecksumIEEE(b[:sum]) == binary.LittleEndian.Uint32(b[sum:]) {
		return 4
	}
	return 0
}

// binaryLog is what a server says of its log.
type binaryLog struct {
	base  string            // of the files' names
	sizes map[uint64]uint64 // by number, bytes; no file is missing between two
	first uint64
	at    uint64 // offset where it ends now
}

// binaryLog asks for it. Errors wrap errNoBinlog where there is none.
func (s *session) binaryLog() (l binaryLog, err error) {
	l.sizes = map[uint64]uint64{}
	rows, err := s.rows("SHOW BINARY LOGS")
	if said := (*mysql.MyError)(nil); errors.As(err, &said) && said.Code == mysql.ER_NO_BINARY_LOGGING {
		return l, errNoBinlog
	}
	if err != nil {
		return l, err
	}
	for _, r := range rows {
		n, err := number(r[0])
		if err != nil {
			return l, err
		}
		var size uint64
		if _, err := fmt.Sscan(r[1], &size); err != nil || size >= 1<<snapshot.BinlogBits {
			return l, fmt.Errorf("%w: %s has %q bytes", errBinlog, r[0], r[1])
		}
		if base := r[0][:bytes.LastIndexByte([]byte(r[0]), '.')]; l.base == "" {
			l.base, l.first = base, n
		} else if base != l.base || l.sizes[n-1] == 0 {
			return l, fmt.Errorf("%w: %s behind another of its files", errBinlog, r[0])
		}
		l.sizes[n], l.at = size, snapshot.BinlogOffset(n, size)
	}
	if l.base == "" {
		return l, errNoBinlog
	}
	return l, nil
}

var errNoBinlog = hinted{errors.New("the server keeps no binary log"), noBinlog.Fix}

// anchor keeps in a manifest what shows that a server's log is the one in which the snapshot ends, and with which the log can be read from there on. The snapshot is good without it.
func (m *Manifest) anchor(ctx context.Context, at *server, findings []snapshot.Finding) []snapshot.Finding {
	ses, err := dial(ctx, at)
	if err == nil {
		if m.Zone, err = ses.zone(); err == nil {
			m.Header, m.GTID, err = ses.place(m.File, m.Position)
		}
		ses.close()
	}
	if err != nil {
		findings = append(findings, snapshot.Finding{Name: "no log can be replayed on this snapshot", Level: snapshot.Warn, Detail: oneLine(describe("read the binary log of", at, err).Error()), Fix: "`lifeboat doctor` runs the preflights; then back up again"})
	}
	return findings
}

// place is the format description that holds at a place of the log, and the newest GTID of each domain before it.
func (s *session) place(file string, pos uint64) (format []byte, gtid string, err error) {
	n, err := number(file)
	if err != nil {
		return nil, "", err
	}
	if gtid, err = s.value(fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d)", quoted(file), pos)); err != nil {
		return nil, "", err
	}
	d, err := s.beginDump(file[:bytes.LastIndexByte([]byte(file), '.')], snapshot.BinlogOffset(n, pos), false)
	if err != nil {
		return nil, "", err
	}
	if _, err := d.next(); err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if d.format == nil {
		return nil, "", fmt.Errorf("%w: no format description", errBinlog)
	}
	return d.format, gtid, nil
}

// follows makes sure that the server's log goes on from where another ended, as far as it can be known. It is proven where the server still has log that no other history has at its place.
// Errors wrap snapshot.ErrLogGone where the server has no longer what comes behind that end, snapshot.ErrOther where it is another one.
func (s *session) follows(ctx context.Context, l binaryLog, end snapshot.LogEnd) (proven bool, err error) {
	other := func(format string, args ...any) error {
		return hinted{fmt.Errorf("%w: %s", snapshot.ErrOther, fmt.Sprintf(format, args...)), "where that is right, for example after RESET MASTER, `lifeboat backup --full` begins anew; what was captured stays"}
	}
	file, pos := snapshot.SplitBinlog(end.Offset)
	size, have := l.sizes[file]
	switch {
	case end.System != "" && end.System != l.base:
		return false, other("its binary log is called %s, and that so far %s", l.base, end.System)
	case file < l.first:
		return false, fmt.Errorf("%w: its first file is %s, and %s is needed", snapshot.ErrLogGone, nameOf(l.base, l.first), nameOf(l.base, file))
	case !have || pos > size:
		return false, other("its binary log ends at %s, and was seen up to %s", snapshot.FormatBinlog(l.at), snapshot.FormatBinlog(end.Offset))
	}
	if from, _ := snapshot.SplitBinlog(end.From); end.Same != nil && end.From < end.To && l.sizes[from] != 0 {
		same, err := s.same(ctx, l, end)
		if err == nil && !same {
			err = other("at %s it has another log", snapshot.FormatBinlog(end.From))
		}
		return err == nil, err
	}
	m, err := ParseManifest(end.Manifest)
	if err != nil || m.Header == nil {
		return false, nil // it was asked for what nobody knows
	}
	n, err := number(m.File)
	if err != nil || l.sizes[n] < m.Position {
		return false, err
	}
	second, err := s.second(ctx)
	if err != nil {
		return false, err
	}
	defer second.close()
	format, gtid, err := second.place(m.File, m.Position)
	if err != nil && !isFatal(err) {
		return false, err
	}
	if err != nil || gtid != m.GTID || !bytes.Equal(format, m.Header) {
		return false, other("at %s it has another log", snapshot.FormatBinlog(snapshot.BinlogOffset(n, m.Position)))
	}
	return true, nil
}

// second is another connection, as patient: on one that dumps nothing else can be asked.
func (s *session) second(ctx context.Context) (*session, error) {
	second, err := dial(ctx, s.at)
	if err == nil {
		second.limit = s.limit
	}
	return second, err
}

// same compares a stretch of the log with what was captured.
func (s *session) same(ctx context.Context, l binaryLog, end snapshot.LogEnd) (bool, error) {
	second, err := s.second(ctx)
	if err != nil {
		return false, err
	}
	defer second.close()
	d, err := second.beginDump(l.base, end.From, false)
	if err != nil {
		return false, err
	}
	var b []byte
	for d.at < end.To {
		r, err := d.next()
		if errors.Is(err, io.EOF) || isFatal(err) {
			return false, nil // no event begins there, or the log ends before
		}
		if err != nil {
			return false, err
		}
		if r.event != nil && r.start >= end.From {
			b = append(b, r.event...)
		}
		if r.event == nil && r.kind == rotateEvent {
			return false, nil
		}
	}
	return end.Same(b), nil
}

// readable makes sure that a file which was closed meanwhile can be read to its end: one that a crash cut short cannot, and nobody knows what else was in it. Errors wrap snapshot.ErrLogGone.
func (s *session) readable(ctx context.Context, l binaryLog, from uint64) error {
	file, _ := snapshot.SplitBinlog(from)
	if last, _ := snapshot.SplitBinlog(l.at); file == last {
		return nil
	}
	second, err := s.second(ctx)
	if err != nil {
		return err
	}
	defer second.close()
	d, err := second.beginDump(l.base, from, false)
	if err != nil {
		return err
	}
	for {
		r, err := d.next()
		if isFatal(err) {
			return fmt.Errorf("%w: %s is broken: %w", snapshot.ErrLogGone, nameOf(l.base, file), err)
		}
		if errors.Is(err, io.EOF) || err == nil && r.event == nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// isFatal reports whether a server cannot send what it was asked for.
func isFatal(err error) bool {
	var said *mysql.MyError
	return errors.As(err, &said) && said.Code == mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG
}
