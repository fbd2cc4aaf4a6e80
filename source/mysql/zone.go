package mysql

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// shift is from when on the clocks of a server's host are how far ahead of UTC. Statements of the log that say NOW() mean that time, and name no zone.
type shift struct {
	At     int64 `json:"at"`     // seconds since 1970
	Offset int64 `json:"offset"` // seconds
}

// zoneStep is shorter than the time between two shifts, in seconds; zoneParts is into how many parts the time around one is cut to find it.
const (
	zoneStep  = 14 * 24 * 3600
	zoneParts = 16
)

// zone finds all shifts of the times that a server knows, by asking what it makes of moments.
func (s *session) zone() (out []shift, err error) {
	if _, err := s.rows("SET SESSION time_zone = 'SYSTEM'"); err != nil {
		return nil, err
	}
	var at []int64
	for t := int64(0); t < math.MaxInt32; t += zoneStep {
		at = append(at, t)
	}
	all, err := s.offsets(at)
	if err != nil {
		return nil, err
	}
	first := all[0]
	for wide := true; wide; { // each pair around a shift becomes a narrower one
		var pairs []shift
		at, wide = nil, false
		for i := 1; i < len(all); i++ {
			if before, behind := all[i-1], all[i]; before.Offset != behind.Offset {
				pairs = append(pairs, before, behind)
				for t := before.At + 1; t < behind.At; t += (behind.At-before.At)/zoneParts + 1 {
					at, wide = append(at, t), true
				}
			}
		}
		if all = pairs; !wide {
			break
		}
		between, err := s.offsets(at)
		if err != nil {
			return nil, err
		}
		all = append(all, between...)
		slices.SortFunc(all, func(a, b shift) int { return cmp.Compare(a.At, b.At) })
	}
	out = []shift{first}
	for i := 1; i < len(all); i += 2 {
		out = append(out, all[i])
	}
	return out, nil
}

// offsets asks how far ahead of UTC the server's clocks are at some times.
func (s *session) offsets(at []int64) (out []shift, err error) {
	var q strings.Builder
	for i, t := range at {
		fmt.Fprintf(&q, ",(%d,%d)", i, t)
	}
	rows, err := s.rows("WITH v (n, t) AS (VALUES " + q.String()[1:] + ") SELECT TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', FROM_UNIXTIME(t)) - t FROM v ORDER BY n")
	if err != nil {
		return nil, err
	}
	if len(rows) != len(at) {
		return nil, fmt.Errorf("the server's time: %d answers to %d questions", len(rows), len(at))
	}
	for i, r := range rows {
		o, err := strconv.ParseInt(r[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("the server's time: %w", err)
		}
		out = append(out, shift{at[i], o})
	}
	return out, nil
}

// zoneFile is a time zone as the C library reads it: TZif, version 1, of RFC 9636.
func zoneFile(shifts []shift) []byte {
	var b bytes.Buffer
	if len(shifts) == 0 {
		shifts = []shift{{}}
	}
	number := func(n int64) { b.Write(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	b.WriteString("TZif")
	b.Write(make([]byte, 16))
	for _, n := range []int{0, 0, 0, len(shifts) - 1, len(shifts), 4} { // of UT and standard indicators, leap seconds, transitions, types, characters
		number(int64(n))
	}
	for _, s := range shifts[1:] {
		number(s.At)
	}
	for i := range shifts[1:] {
		b.WriteByte(byte(i + 1))
	}
	for _, s := range shifts {
		number(s.Offset)
		b.Write([]byte{0, 0}) // no daylight saving of its own, the first name
	}
	b.WriteString("LBT\x00")
	return b.Bytes()
}
