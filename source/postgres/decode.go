package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// errNotLog is wrapped where bytes are not the log that they should be: damaged, of another cluster, or of another place.
var errNotLog = errors.New("these bytes are not the log of this cluster")

// lineage says whose log it is. A server's log begins with pages of older timelines where a timeline was left in a segment.
type lineage struct {
	version     int // as server_version_num
	system      uint64
	timeline    uint32
	segmentSize int64
}

// decoder reads the log as it passes, in pieces of any size, and finds what a restore can aim at. It verifies every page
// and the checksum of every record, and holds no more than a record's header and one field. Layouts: xlog_internal.h,
// xlogrecord.h and xlogreader.c of PostgreSQL; a server of the other byte order has pages that are not recognised.
type decoder struct {
	of    lineage
	magic uint16
	err   error // of an earlier write

	at     lsn // of the next byte
	last   lsn // end of the last complete record
	zeros  bool
	skip   bool   // to the end of the segment, behind a switch
	first  bool   // no page was seen yet
	branch uint32 // timeline of the page at hand
	page   [longHeader]byte

	// The record at hand, if inside.
	inside   bool
	headless bool // it began before the first byte
	start    lsn
	head     [recordHeader]byte
	got      int    // bytes of head
	left     uint32 // bytes to come; known with the first four of head
	crc      uint32
	fields   fields
	prev     lsn // start of the record before, 0 if unknown
}

const (
	shortHeader  = 24 // of a page
	longHeader   = 40 // of a segment's first page
	recordHeader = 24
	maxAlign     = 8

	// Flags of a page.
	pageContinues  = 1 // it begins with the rest of a record
	pageLong       = 2
	pageOverwrites = 8 // the rest of the record before will never come
	pageFlags      = 15
)

// magics tell the versions apart, by major version.
var magics = map[int]uint16{14: 0xD10D, 15: 0xD110, 16: 0xD113, 17: 0xD116, 18: 0xD118}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newDecoder begins at the start of a segment. A record whose beginning is before it is skipped.
func newDecoder(of lineage, from lsn) (*decoder, error) {
	magic, ok := magics[of.version/10000]
	if !ok {
		return nil, fmt.Errorf("decode the log: %w: its layout in version %d is not known", ErrVersion, of.version/10000)
	}
	if s := of.segmentSize; s < 1<<20 || s > 1<<30 || s&(s-1) != 0 || int64(from)&(s-1) != 0 {
		return nil, fmt.Errorf("decode the log: %s does not begin a segment of %d bytes", from, s)
	}
	return &decoder{of: of, magic: magic, at: from, last: from, first: true}, nil
}

// write decodes p, which continues where the last write ended, and emits the events that are complete, in order. Zeros
// where a record or a page would begin end the log: nothing but zeros may follow. A log that was cut within a page and not at
// an end, and then filled with zeros, looks damaged. After an error, of emit too, every write returns it.
func (d *decoder) write(p []byte, emit func(event) error) error {
	for len(p) > 0 && d.err == nil {
		var n int
		n, d.err = d.step(p, emit)
		p, d.at = p[n:], d.at+lsn(n)
	}
	return d.err
}

// end is where the last complete record ends and the next begins, as recovery counts: what is before it can be cut off.
// Behind a switch it is the end of the segment, once that has passed.
func (d *decoder) end() lsn { return d.last }

// incomplete is the start of a record of which only the beginning was written. A record that began before the decoder's
// first byte is taken to begin there.
func (d *decoder) incomplete() (start lsn, ok bool) { return d.start, d.inside }

// step consumes a part of p that belongs to one page and one thing.
func (d *decoder) step(p []byte, emit func(event) error) (int, error) {
	if d.zeros {
		return d.blank(p)
	}
	if d.skip {
		return d.rest(p), nil
	}
	off := int(d.at % walPage)
	if size := d.headerSize(); off < size {
		n := copy(d.page[off:size], p)
		if off+n == size {
			return n, d.header(d.page[:size])
		}
		return n, nil
	}
	n, err := d.record(p[:min(len(p), walPage-off)])
	// A record is complete where the next one can begin.
	if at := d.at + lsn(n); err == nil && d.inside && d.got == recordHeader && d.left == 0 && at%maxAlign == 0 {
		err = d.complete(at, emit)
	}
	return n, err
}

// record consumes a part of one record, and what aligns it.
func (d *decoder) record(p []byte) (n int, err error) {
	if !d.inside {
		d.inside, d.headless, d.start, d.got, d.left, d.crc = true, false, d.at, 0, 0, 0
	}
	if d.got < recordHeader {
		if n, err = d.begin(p); err != nil || d.got < recordHeader {
			return n, err
		}
	}
	if body := p[n:min(len(p), n+int(d.left))]; len(body) > 0 {
		n += len(body)
		if err := d.body(body); err != nil {
			return n, err
		}
	}
	if d.left == 0 {
		n += min(len(p)-n, int(-(d.at+lsn(n))%maxAlign))
	}
	return n, nil
}

// headerSize is that of the header of the page at hand.
func (d *decoder) headerSize() int {
	if d.at&lsn(d.of.segmentSize-walPage) == 0 {
		return longHeader
	}
	return shortHeader
}

// header checks the header of the page at hand.
func (d *decoder) header(h []byte) error {
	addr := d.at / walPage * walPage
	if allZero(h) {
		d.zeros = true
		return nil
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("decode the log: page %s: %w: %s", addr, errNotLog, fmt.Sprintf(format, args...))
	}
	magic, flags := binary.LittleEndian.Uint16(h), binary.LittleEndian.Uint16(h[2:])
	branch := binary.LittleEndian.Uint32(h[4:])
	remaining := binary.LittleEndian.Uint32(h[16:])
	switch got := lsn(binary.LittleEndian.Uint64(h[8:])); {
	case magic != d.magic:
		return bad("its magic is %04X, that of version %d is %04X", magic, d.of.version/10000, d.magic)
	case flags&^pageFlags != 0 || (flags&pageLong != 0) != (len(h) == longHeader):
		return bad("it has the flags %04X", flags)
	case got != addr:
		return bad("it says that it is page %s", got)
	case branch < max(d.branch, 1) || branch > d.of.timeline:
		return bad("it is of timeline %d, after one of %d, in the log of %d", branch, d.branch, d.of.timeline)
	}
	d.branch = branch
	if len(h) == longHeader {
		system, segment, page := binary.LittleEndian.Uint64(h[24:]), binary.LittleEndian.Uint32(h[32:]), binary.LittleEndian.Uint32(h[36:])
		if system != d.of.system || int64(segment) != d.of.segmentSize || page != walPage {
			return bad("it is of cluster %d with segments of %d bytes and pages of %d, not of %d with %d and %d", system, segment, page, d.of.system, d.of.segmentSize, walPage)
		}
	}
	first := d.first
	d.first = false
	switch {
	case flags&pageOverwrites != 0:
		d.inside = false // the server died while it wrote a record, and went on without it
	case d.inside && (flags&pageContinues == 0 || remaining != d.left):
		return bad("it does not continue the record at %s with %d bytes, but with %d", d.start, d.left, remaining)
	case !d.inside && flags&pageContinues != 0:
		if !first || remaining == 0 {
			return bad("it continues a record that did not begin")
		}
		d.inside, d.headless, d.start, d.got, d.left = true, true, addr, recordHeader, remaining
		d.fields.kind = 0
	}
	return nil
}

// begin gathers the header of a record. Its length is never split over pages, the rest may be.
func (d *decoder) begin(p []byte) (int, error) {
	n := recordHeader
	if d.got == 0 && len(p) >= recordHeader {
		d.head = [recordHeader]byte(p) // a tenth of the whole faster than copy
	} else {
		n = copy(d.head[d.got:], p)
	}
	if d.got < 4 {
		if d.got+n < 4 {
			d.got += n
			return n, nil
		}
		total := binary.LittleEndian.Uint32(d.head[:])
		if total == 0 { // only these bytes were looked at
			d.inside, d.zeros = false, true
			return 4 - d.got, nil
		}
		if total < recordHeader {
			return n, d.bad("it is %d bytes long", total)
		}
		d.left = total - uint32(d.got)
	}
	d.got, d.left = d.got+n, d.left-uint32(n)
	if d.got < recordHeader {
		return n, nil
	}
	prev := lsn(binary.LittleEndian.Uint64(d.head[8:]))
	if prev >= d.start || d.prev != 0 && prev != d.prev {
		return n, d.bad("the record before it is said to be at %s, not at %s", prev, d.prev)
	}
	d.fields.begin(d.head[:], d.of.version)
	return n, nil
}

// body takes what follows the header of a record.
func (d *decoder) body(p []byte) error {
	d.left -= uint32(len(p))
	if d.headless {
		return nil
	}
	d.crc = crc32.Update(d.crc, castagnoli, p)
	if d.fields.kind != 0 && !d.fields.read(p) {
		return d.bad("its fields are not as they should be")
	}
	return nil
}

// complete ends a record.
func (d *decoder) complete(end lsn, emit func(event) error) error {
	d.inside = false
	if d.headless {
		d.last = end
		return nil
	}
	// The header comes last in the checksum, and without it.
	if sum := crc32.Update(d.crc, castagnoli, d.head[:20]); sum != binary.LittleEndian.Uint32(d.head[20:]) {
		return d.bad("its checksum is %08X, not %08X", binary.LittleEndian.Uint32(d.head[20:]), sum)
	}
	d.last, d.prev = end, d.start
	d.skip = isSwitch(d.head[:]) && end&lsn(d.of.segmentSize-1) != 0
	if d.fields.kind == 0 {
		return nil
	}
	e, ok := d.fields.event()
	if !ok {
		return d.bad("it ends before its fields")
	}
	e.start, e.end = d.start, end
	return emit(e)
}

func (d *decoder) bad(format string, args ...any) error {
	return fmt.Errorf("decode the log: record at %s: %w: %s", d.start, errNotLog, fmt.Sprintf(format, args...))
}

// rest skips what a switch left empty.
func (d *decoder) rest(p []byte) int {
	left := d.of.segmentSize - int64(d.at)&(d.of.segmentSize-1)
	if int64(len(p)) < left {
		return len(p)
	}
	d.skip, d.last = false, d.at+lsn(left)
	return int(left)
}

// blank consumes zeros behind the end of the log.
func (d *decoder) blank(p []byte) (int, error) {
	p = p[:min(len(p), walPage)]
	if !allZero(p) {
		return len(p), fmt.Errorf("decode the log: %w: behind its end at %s there is more within the %d bytes at %s", errNotLog, d.last, len(p), d.at)
	}
	return len(p), nil
}

var zeroPage [walPage]byte

// allZero tells whether p, at most a page, is empty.
func allZero(p []byte) bool { return bytes.Equal(p, zeroPage[:len(p)]) }
