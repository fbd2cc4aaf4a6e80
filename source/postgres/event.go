package postgres

import (
	"bytes"
	"encoding/binary"
	"time"
)

// event is a record that recovery can stop at.
type event struct {
	kind       eventKind
	start, end lsn       // of the record; end is where the next can begin, as recovery counts
	time       time.Time // of the server's clock: later events can have earlier times
	xid        uint32    // of the transaction or subtransaction, of the prepared one where it was; 0 for a restore point
	name       string    // of a restore point
}

type eventKind uint8

const (
	eventCommit eventKind = iota + 1
	eventAbort            // of a subtransaction too
	eventRestorePoint
)

// fields finds an event in the content of a record, in pieces, and keeps one field at a time: a list of subtransactions may
// be as long as it likes. Layouts: xlogrecord.h, xact.h, xactdesc.c, xlog_internal.h of PostgreSQL.
type fields struct {
	kind     eventKind // 0: the record is no event
	prepared bool      // the xid is one of the fields
	flagged  bool      // flags are
	stats    uint64    // size of an item of dropped statistics
	found    event

	stage stage // what field is
	field [pointSize]byte
	have  int
	need  int
	skip  uint64 // bytes before the rest of field
	flags uint32 // which parts there are
	part  int    // the next of parts
}

type stage uint8

const (
	stageBlock stage = iota // which header comes before the content
	stagePoint
	stageTime
	stageFlags
	stageCount // of the items of a part
	stageXID
	stageDone
)

// pointSize is the size of a restore point, the largest field: time and name.
const pointSize = 8 + 64

// parts precede the xid of a prepared transaction, in this order, each if its flag is set: a count, and items of a size.
var parts = [...]struct{ flag, item uint32 }{
	{hasDatabase, 8}, // without a count
	{1 << 1, 4},      // subtransactions
	{1 << 2, 12},     // files
	{hasStats, 0},    // statistics, from version 15 on
	{1 << 3, 16},     // invalidations, of commits only
}

const (
	hasDatabase = 1 << 0
	hasXID      = 1 << 4
	hasStats    = 1 << 8
)

// The resource managers that write events, and their records.
const (
	managerLog    = 0
	recordsMask   = 0xF0
	recordSwitch  = 0x40
	recordPoint   = 0x70
	managerXact   = 1
	xactMask      = 0x70
	xactCommit    = 0x00
	xactAbort     = 0x20
	xactCommitTwo = 0x30 // prepared
	xactAbortTwo  = 0x40
	xactFlagged   = 0x80
)

// isSwitch tells by the header of a record whether the rest of its segment is empty.
func isSwitch(head []byte) bool {
	return head[17] == managerLog && head[16]&recordsMask == recordSwitch
}

// begin decides by the header of a record whether it is an event.
func (f *fields) begin(head []byte, version int) {
	f.kind = 0
	manager, info := head[17], head[16]
	switch {
	case manager == managerLog && info&recordsMask == recordPoint:
		*f = fields{kind: eventRestorePoint, need: 1}
	case manager == managerXact:
		kind := eventCommit
		switch info & xactMask {
		case xactCommit, xactCommitTwo:
		case xactAbort, xactAbortTwo:
			kind = eventAbort
		default:
			return
		}
		*f = fields{kind: kind, need: 1, stats: 12, flagged: info&xactFlagged != 0}
		f.prepared = info&xactMask == xactCommitTwo || info&xactMask == xactAbortTwo
		f.found.xid = binary.LittleEndian.Uint32(head[4:])
		if version >= 180000 {
			f.stats = 16
		}
	}
	f.found.kind = f.kind
}

// read takes more of the content; what follows the last field is not looked at. It fails where the layout is unknown.
func (f *fields) read(p []byte) bool {
	for len(p) > 0 && f.stage != stageDone {
		if n := min(f.skip, uint64(len(p))); n > 0 {
			f.skip -= n
			p = p[n:]
			continue
		}
		n := copy(f.field[f.have:f.need], p)
		f.have += n
		p = p[n:]
		if f.have == f.need && !f.take(f.field[:f.need]) {
			return false
		}
	}
	return true
}

// event is the result, once the record was read.
func (f *fields) event() (event, bool) { return f.found, f.stage == stageDone }

// expect sets which field comes next.
func (f *fields) expect(s stage, size int) bool {
	f.stage, f.have, f.need = s, 0, size
	return true
}

// take reads one field and sets which comes next.
func (f *fields) take(b []byte) bool {
	switch f.stage {
	case stageBlock:
		return f.block(b[0])
	case stagePoint:
		name, _, _ := bytes.Cut(b[8:], []byte{0})
		f.found.time, f.found.name = timestamp(b), string(name)
		return f.expect(stageDone, 0)
	case stageTime:
		f.found.time = timestamp(b)
		if !f.prepared {
			return f.expect(stageDone, 0)
		}
		return f.flagged && f.expect(stageFlags, 4)
	case stageFlags:
		f.flags = binary.LittleEndian.Uint32(b)
	case stageCount:
		size := uint64(parts[f.part-1].item)
		if parts[f.part-1].flag == hasStats {
			size = f.stats
		}
		f.skip = size * uint64(binary.LittleEndian.Uint32(b))
	case stageXID:
		f.found.xid = binary.LittleEndian.Uint32(b)
		return f.expect(stageDone, 0)
	}
	return f.nextPart()
}

// block reads which header comes before the content: its size, which is the last, or what else a record may have.
func (f *fields) block(id byte) bool {
	switch id {
	case 255:
		f.skip = 1
	case 254:
		f.skip = 4
	case 253: // origin of replication
		f.skip = 2
		return f.expect(stageBlock, 1)
	case 252: // transaction of a subtransaction
		f.skip = 4
		return f.expect(stageBlock, 1)
	default:
		return false
	}
	if f.kind == eventRestorePoint {
		return f.expect(stagePoint, pointSize)
	}
	return f.expect(stageTime, 8)
}

// nextPart goes on to the next part that the transaction has, or to its xid.
func (f *fields) nextPart() bool {
	for f.part < len(parts) {
		p := parts[f.part]
		f.part++
		switch {
		case f.flags&p.flag == 0:
		case p.flag == hasDatabase:
			f.skip += uint64(p.item)
		default:
			return f.expect(stageCount, 4)
		}
	}
	return f.flags&hasXID != 0 && f.expect(stageXID, 4)
}

// since2000 is the beginning of the server's time in seconds of Unix.
const since2000 = 946684800

// timestamp reads microseconds since the year 2000.
func timestamp(b []byte) time.Time {
	micros := int64(binary.LittleEndian.Uint64(b))
	return time.Unix(since2000+micros/1e6, micros%1e6*1000).UTC()
}
