package snapshot

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Pos is a position in an engine's log. Line is the history it belongs to (a PostgreSQL timeline, a WAL salt); positions compare only within one line. Its text form is fixed-width and sorts as it compares.
type Pos struct {
	Line   uint64
	Offset uint64
}

// IsZero reports whether p is no position at all.
func (p Pos) IsZero() bool { return p == Pos{} }

// String is 16 hexadecimal digits of line, a dash, 16 of offset; empty for the zero Pos.
func (p Pos) String() string {
	if p.IsZero() {
		return ""
	}
	return fmt.Sprintf("%016x-%016x", p.Line, p.Offset)
}

// ParsePos is the inverse of String.
func ParsePos(s string) (Pos, error) {
	if s == "" {
		return Pos{}, nil
	}
	line, off, ok := strings.Cut(s, "-")
	if !ok || len(line) != 16 || len(off) != 16 {
		return Pos{}, fmt.Errorf("parse position %q: not 16 hexadecimal digits, a dash and 16 more", s)
	}
	l, err := strconv.ParseUint(line, 16, 64)
	if err != nil {
		return Pos{}, fmt.Errorf("parse position %q: %w", s, err)
	}
	o, err := strconv.ParseUint(off, 16, 64)
	if err != nil {
		return Pos{}, fmt.Errorf("parse position %q: %w", s, err)
	}
	p := Pos{Line: l, Offset: o}
	if p.String() != s {
		return Pos{}, fmt.Errorf("parse position %q: not in canonical form", s)
	}
	return p, nil
}

// Compare orders two positions of one line; ok is false when they are of different lines and have no order.
func (p Pos) Compare(q Pos) (order int, ok bool) {
	return cmp.Compare(p.Offset, q.Offset), p.Line == q.Line
}

// MarshalText and UnmarshalText use the form of String.
func (p Pos) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (p *Pos) UnmarshalText(b []byte) error {
	q, err := ParsePos(string(b))
	if err == nil {
		*p = q
	}
	return err
}

// BinlogBits is how many bits of an offset of MariaDB's binary log, the lowest, are the byte in a file; the others are the file's number.
const BinlogBits = 40

// BinlogOffset makes an offset of the number of a file and a byte in it.
func BinlogOffset(file, at uint64) uint64 { return file<<BinlogBits | at }

// SplitBinlog is the inverse of BinlogOffset.
func SplitBinlog(offset uint64) (file, at uint64) {
	return offset >> BinlogBits, offset & (1<<BinlogBits - 1)
}

// FormatBinlog is an offset as people write it and restore.ParsePoint reads it.
func FormatBinlog(offset uint64) string {
	file, at := SplitBinlog(offset)
	return fmt.Sprintf("binlog:%06d:%d", file, at)
}
