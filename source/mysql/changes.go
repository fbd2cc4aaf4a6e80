package mysql

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"slices"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// Change is what a transaction did to a table, or that it has a statement, such as one that defines something, in a database.
type Change struct {
	Table     string `json:"table,omitempty"` // database, point, name
	Inserted  int64  `json:"inserted,omitempty"`
	Updated   int64  `json:"updated,omitempty"`
	Deleted   int64  `json:"deleted,omitempty"` // rows; -1 where they could not be counted
	Statement bool   `json:"statement,omitempty"`
	Database  string `json:"database,omitempty"`
}

// ParseNote reads the note of a transaction in the log; nil for what is none.
func ParseNote(note string) (out []Change) {
	if json.Unmarshal([]byte(note), &out) != nil {
		return nil
	}
	return out
}

// maxChanges bounds the tables that a note names. What else was changed is one Change without a table.
const maxChanges = 200

// changes gathers what a group changes.
type changes struct {
	tables map[uint64]*described // by the number that events call them by
	found  []Change
}

// described is what a table's description in the log says.
type described struct {
	name  string
	types []byte
	meta  []uint16
}

func (c *changes) begin() { c.tables, c.found = map[uint64]*described{}, nil }

// statement notes one that stands in the log as such: what it changed only a server can tell.
func (c *changes) statement(database string) {
	change := Change{Statement: true, Database: database}
	if len(c.found) < 2*maxChanges && !slices.Contains(c.found, change) {
		c.found = append(c.found, change)
	}
}

// of is the entry of a table.
func (c *changes) of(name string) *Change {
	i := slices.IndexFunc(c.found, func(f Change) bool { return f.Table == name && !f.Statement })
	if i < 0 && len(c.found) >= maxChanges && name != "" {
		return c.of("")
	}
	if i < 0 {
		i = len(c.found)
		c.found = append(c.found, Change{Table: name})
	}
	return &c.found[i]
}

func (c *changes) note() string {
	if len(c.found) == 0 {
		return ""
	}
	b, err := json.Marshal(c.found)
	if err != nil {
		return "" // strings and numbers alone: it cannot be
	}
	return string(b)
}

// The events of rows, and the same compressed.
const (
	insertEvent = 23 + iota
	updateEvent
	deleteEvent
)

const compressedBy = 166 - insertEvent

// event takes one in that may describe a table or hold rows of it.
func (c *changes) event(kind byte, body []byte) {
	if c.tables == nil {
		c.begin()
	}
	packed := kind >= insertEvent+compressedBy && kind <= deleteEvent+compressedBy
	if packed {
		kind -= compressedBy
	}
	switch kind {
	case tableEvent:
		if id, t := describeTable(body); t != nil {
			c.tables[id] = t
		}
	case insertEvent, updateEvent, deleteEvent:
		if len(body) < 8 {
			return
		}
		t := c.tables[tableNumber(body)]
		if t == nil {
			if tableNumber(body) != noTable {
				c.of("").Updated = -1
			}
			return
		}
		n := t.rows(body[8:], kind == updateEvent, packed)
		f := c.of(t.name)
		for _, k := range []struct {
			kind byte
			n    *int64
		}{{insertEvent, &f.Inserted}, {updateEvent, &f.Updated}, {deleteEvent, &f.Deleted}} {
			if k.kind != kind {
				continue
			}
			if n < 0 || *k.n < 0 {
				*k.n = -1
			} else {
				*k.n += n
			}
		}
	}
}

// noTable is the number that an event without rows has.
const noTable = 0xffffff

func tableNumber(b []byte) uint64 {
	var eight [8]byte
	copy(eight[:6], b)
	return binary.LittleEndian.Uint64(eight[:])
}

// describeTable reads a table's description; nil where it cannot be read.
func describeTable(b []byte) (id uint64, t *described) {
	if len(b) < 9 {
		return 0, nil
	}
	id = tableNumber(b)
	text := func(b []byte) (string, []byte, bool) { // length, text, zero
		if len(b) < 1 || len(b) < int(b[0])+2 {
			return "", nil, false
		}
		return string(b[1 : 1+b[0]]), b[int(b[0])+2:], true
	}
	database, rest, ok := text(b[8:])
	if !ok {
		return 0, nil
	}
	name, rest, ok := text(rest)
	if !ok {
		return 0, nil
	}
	t = &described{name: database + "." + name}
	n, rest, ok := lenenc(rest)
	if !ok || n > uint64(len(rest)) {
		return id, t // its rows cannot be counted
	}
	types := rest[:n]
	length, rest, ok := lenenc(rest[n:])
	if !ok || length > uint64(len(rest)) {
		return id, t
	}
	meta := rest[:length]
	t.meta = make([]uint16, len(types))
	for i, kind := range types {
		size := metaSize(kind)
		if len(meta) < size {
			return id, t
		}
		switch size {
		case 1:
			t.meta[i] = uint16(meta[0])
		case 2:
			t.meta[i] = binary.LittleEndian.Uint16(meta)
		}
		meta = meta[size:]
	}
	t.types = bytes.Clone(types)
	return id, t
}

// lenenc reads a number of the protocol, of one byte or two: none here can be larger.
func lenenc(b []byte) (n uint64, rest []byte, ok bool) {
	switch {
	case len(b) >= 1 && b[0] < 0xfb:
		return uint64(b[0]), b[1:], true
	case len(b) >= 3 && b[0] == 0xfc:
		return uint64(binary.LittleEndian.Uint16(b[1:])), b[3:], true
	}
	return 0, nil, false
}

// unpack undoes the compression of an event's rows: the length of a length, in the lowest bits, that length, and zlib.
func unpack(b []byte) ([]byte, error) {
	if len(b) == 0 || len(b) < 1+int(b[0]&7) {
		return nil, errBinlog
	}
	size := uint64(0)
	for _, part := range b[1 : 1+b[0]&7] {
		size = size<<8 | uint64(part)
	}
	if size > maxEvent {
		return nil, errBinlog
	}
	r, err := zlib.NewReader(bytes.NewReader(b[1+b[0]&7:]))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(size)))
	return out, errors.Join(err, r.Close())
}

// Types of columns that go-mysql has no name for.
const (
	blobCompressed    = 140
	varcharCompressed = 141
)

// metaSize is how many bytes a table's description has about a column of a type.
func metaSize(kind byte) int {
	switch kind {
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VAR_STRING, gomysql.MYSQL_TYPE_VARCHAR, varcharCompressed, gomysql.MYSQL_TYPE_NEWDECIMAL, gomysql.MYSQL_TYPE_BIT, gomysql.MYSQL_TYPE_ENUM, gomysql.MYSQL_TYPE_SET:
		return 2
	case gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE, gomysql.MYSQL_TYPE_BLOB, blobCompressed, gomysql.MYSQL_TYPE_TINY_BLOB, gomysql.MYSQL_TYPE_MEDIUM_BLOB, gomysql.MYSQL_TYPE_LONG_BLOB,
		gomysql.MYSQL_TYPE_GEOMETRY, gomysql.MYSQL_TYPE_JSON, gomysql.MYSQL_TYPE_TIMESTAMP2, gomysql.MYSQL_TYPE_DATETIME2, gomysql.MYSQL_TYPE_TIME2:
		return 1
	}
	return 0
}

// rows counts those of an event, whose images come in pairs where it is an update; -1 where they cannot be counted.
func (t *described) rows(b []byte, pairs, packed bool) (n int64) {
	width, rest, ok := lenenc(b)
	if !ok || t.types == nil || width != uint64(len(t.types)) {
		return -1
	}
	bitmap := int(width+7) / 8
	images := [][]byte{nil, nil}[:1]
	if pairs {
		images = images[:2]
	}
	for i := range images {
		if len(rest) < bitmap {
			return -1
		}
		images[i], rest = rest[:bitmap], rest[bitmap:]
	}
	if packed {
		var err error
		if rest, err = unpack(rest); err != nil {
			return -1
		}
	}
	for ; len(rest) > 0; n++ {
		before := len(rest)
		for _, present := range images {
			if rest, ok = t.skip(rest, present); !ok {
				return -1
			}
		}
		if len(rest) == before {
			return -1
		}
	}
	return n
}

// skip goes over one image of a row that has the columns whose bits are set.
func (t *described) skip(b, present []byte) (rest []byte, ok bool) {
	columns := 0
	for i := range t.types {
		if present[i/8]&(1<<(i%8)) != 0 {
			columns++
		}
	}
	if len(b) < (columns+7)/8 {
		return nil, false
	}
	null, b := b[:(columns+7)/8], b[(columns+7)/8:]
	column := 0
	for i, kind := range t.types {
		if present[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		isNull := null[column/8]&(1<<(column%8)) != 0
		column++
		if isNull {
			continue
		}
		size := width(kind, t.meta[i], b)
		if size < 0 || size > len(b) {
			return nil, false
		}
		b = b[size:]
	}
	return b, true
}

// width is how many bytes of b a value takes; -1 where that is not known.
func width(kind byte, meta uint16, b []byte) int {
	prefixed := func(length int) int { // by its length in so many bytes
		if length < 1 || length > 4 || len(b) < length {
			return -1
		}
		var four [4]byte
		copy(four[:length], b)
		return length + int(binary.LittleEndian.Uint32(four[:]))
	}
	fraction := func(whole int) int { return whole + int(meta+1)/2 }
	if kind == gomysql.MYSQL_TYPE_STRING { // the real type, and four bits of its length, are in the first byte
		most := int(meta >> 8)
		if kind = byte(meta); kind&0x30 != 0x30 {
			most |= int(kind&0x30^0x30) << 4
			kind |= 0x30
		}
		switch kind {
		case gomysql.MYSQL_TYPE_ENUM, gomysql.MYSQL_TYPE_SET:
			return int(meta >> 8)
		}
		if most > 255 {
			return prefixed(2)
		}
		return prefixed(1)
	}
	switch kind {
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_YEAR:
		return 1
	case gomysql.MYSQL_TYPE_SHORT:
		return 2
	case gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE, gomysql.MYSQL_TYPE_TIME:
		return 3
	case gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_TIMESTAMP:
		return 4
	case gomysql.MYSQL_TYPE_LONGLONG, gomysql.MYSQL_TYPE_DOUBLE, gomysql.MYSQL_TYPE_DATETIME:
		return 8
	case gomysql.MYSQL_TYPE_TIMESTAMP2:
		return fraction(4)
	case gomysql.MYSQL_TYPE_DATETIME2:
		return fraction(5)
	case gomysql.MYSQL_TYPE_TIME2:
		return fraction(3)
	case gomysql.MYSQL_TYPE_ENUM, gomysql.MYSQL_TYPE_SET:
		return int(meta >> 8)
	case gomysql.MYSQL_TYPE_BIT:
		return int(meta>>8) + int(meta&0xff+7)/8
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		return decimal(int(meta&0xff), int(meta>>8))
	case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING, varcharCompressed:
		if meta > 255 {
			return prefixed(2)
		}
		return prefixed(1)
	case gomysql.MYSQL_TYPE_BLOB, blobCompressed, gomysql.MYSQL_TYPE_GEOMETRY, gomysql.MYSQL_TYPE_JSON:
		return prefixed(int(meta))
	}
	return -1
}

// decimal is how many bytes a number takes: four for nine digits, less for what is left over.
func decimal(precision, decimals int) int {
	if decimals > precision {
		return -1
	}
	leftover := [...]int{0, 1, 1, 2, 2, 3, 3, 4, 4}
	whole := precision - decimals
	return whole/9*4 + leftover[whole%9] + decimals/9*4 + leftover[decimals%9]
}
