package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/snapshot"
)

// captured is what a stream handed on, as a repository would keep it.
type captured struct {
	files  map[uint64][]byte
	events []snapshot.LogEvent
	begin  uint64
	end    uint64
	whole  uint64 // see snapshot.LogEnd
	until  time.Time
}

// capture reads the log until it was read up to an offset and a time; zero values do not matter.
func (c *captured) capture(t *testing.T, s *Source, end snapshot.LogEnd, to uint64, until time.Time) error {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	log, err := s.OpenLog(ctx, end)
	if err != nil {
		return err
	}
	defer func() { must(t, log.Close()) }()
	if c.files == nil {
		c.files = map[uint64][]byte{}
	}
	first := true
	for p, err := range log.Pieces(ctx) {
		if err != nil {
			return err
		}
		if first && c.begin == 0 {
			c.begin, c.end = p.From.Offset, p.From.Offset
		}
		if first && p.From.Offset < c.end {
			file, pos := snapshot.SplitBinlog(p.From.Offset)
			_, begin := snapshot.SplitBinlog(c.begin)
			if last, _ := snapshot.SplitBinlog(c.begin); file != last {
				begin = 0
			}
			if again := c.files[file][pos-begin:]; !bytes.Equal(p.Data[:min(len(p.Data), len(again))], again[:min(len(p.Data), len(again))]) {
				t.Fatalf("from %s on it is another log than before", snapshot.FormatBinlog(p.From.Offset))
			}
			c.files[file], c.end = c.files[file][:pos-begin], p.From.Offset
			for f := range c.files {
				if f > file {
					delete(c.files, f)
				}
			}
			c.events = slices.DeleteFunc(c.events, func(e snapshot.LogEvent) bool { return e.End > c.end })
		}
		first = false
		if p.From.Offset != c.end || p.To.Offset != c.end+uint64(len(p.Data)) && !p.Segment {
			t.Fatalf("a piece from %s to %s where %s was due", p.From, p.To, snapshot.FormatBinlog(c.end))
		}
		file, _ := snapshot.SplitBinlog(p.From.Offset)
		c.files[file] = append(c.files[file], p.Data...)
		c.events = append(c.events, p.Events...)
		if c.end = p.To.Offset; p.Segment {
			c.whole = c.end
		}
		if !p.Until.IsZero() {
			c.until = p.Until
		}
		if c.end >= to && !c.until.Before(until) {
			return nil
		}
	}
	return errors.New("it ended")
}

// is is where the log of a server ends.
func is(t *testing.T, m *testenv.MariaDB) uint64 {
	t.Helper()
	row := m.Query("", "SHOW MASTER STATUS")[0]
	file, err := number(row[0])
	must(t, err)
	pos, err := strconv.ParseUint(row[1], 10, 64)
	must(t, err)
	return snapshot.BinlogOffset(file, pos)
}

// proven makes what was captured the end of a log, which its last transaction proves.
func (c *captured) proven() snapshot.LogEnd {
	end := snapshot.LogEnd{System: "binlog", Pos: snapshot.Pos{Line: firstLine, Offset: c.end}, Whole: c.whole}
	if len(c.events) > 0 {
		e := c.events[len(c.events)-1]
		end.From, end.To = e.Start, e.End
		file, from := snapshot.SplitBinlog(e.Start)
		_, to := snapshot.SplitBinlog(e.End)
		begin := uint64(0)
		if f, pos := snapshot.SplitBinlog(c.begin); f == file {
			begin = pos
		}
		want := bytes.Clone(c.files[file][from-begin : to-begin])
		end.Same = func(b []byte) bool { return bytes.Equal(b, want) }
	}
	return end
}

// same compares what was captured with the server's own files. Those that are open, or were when the server died, have a flag that says so.
func (c *captured) same(t *testing.T, m *testenv.MariaDB) {
	t.Helper()
	for file, got := range c.files {
		want, err := os.ReadFile(filepath.Join(m.Dir, nameOf("binlog", file)))
		must(t, err)
		if first, pos := snapshot.SplitBinlog(c.begin); file == first {
			want = want[pos:]
		} else if n, err := readHeader(want[len(binlogMagic):]); err != nil || n.kind != formatEvent || binary.LittleEndian.Uint16(want[len(binlogMagic)+atFlags:])&^1 != 0 {
			t.Errorf("%+v %v", n, err)
		} else {
			want[len(binlogMagic)+atFlags] = 0
		}
		if file != c.end>>snapshot.BinlogBits && len(got) != len(want) || !bytes.Equal(got, want[:len(got)]) {
			t.Errorf("%s has %d bytes, %d were captured, and they are not the same", nameOf("binlog", file), len(want), len(got))
		}
	}
}

// TestStream captures the log byte by byte over rotations, restarts and a kill of the server, and knows each transaction in it.
func TestStream(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t, "sync_binlog=1")
	m.Query("", "CREATE DATABASE crm")
	s := New(m.DSN("root", ""), "")
	c := &captured{}
	begin := is(t, m)
	must(t, c.capture(t, s, snapshot.LogEnd{}, begin, time.Time{}))
	if c.begin != begin {
		t.Errorf("it began at %s, and the log was at %s", snapshot.FormatBinlog(c.begin), snapshot.FormatBinlog(begin))
	}
	m.Query("crm", "CREATE TABLE a (id INT PRIMARY KEY, note TEXT)")
	for i := range 20 {
		m.Query("crm", fmt.Sprintf("INSERT INTO a VALUES (%d, 'x'), (%d, 'y')", 2*i, 2*i+1))
	}
	m.Query("crm", "UPDATE a SET note = 'z' WHERE id < 4")
	m.Query("", "FLUSH BINARY LOGS")
	m.Query("crm", "DELETE FROM a WHERE id = 7")
	must(t, c.capture(t, s, snapshot.LogEnd{Pos: snapshot.Pos{Line: firstLine, Offset: c.end}, System: "binlog", Same: func([]byte) bool { return true }, From: begin, To: begin + 1}, is(t, m), time.Time{}))
	c.same(t, m)
	var notes []string
	for _, e := range c.events {
		notes = append(notes, e.ID+" "+e.Note)
	}
	if text := strings.Join(notes, "\n"); len(c.events) != 23 || !strings.HasPrefix(text, `0-1-2 [{"statement":true,"database":"crm"}]`) || !strings.Contains(text, `0-1-3 [{"table":"crm.a","inserted":2}]`) ||
		!strings.Contains(text, `0-1-23 [{"table":"crm.a","updated":4}]`) || !strings.HasSuffix(text, `0-1-24 [{"table":"crm.a","deleted":1}]`) {
		t.Error(text)
	}

	// The server stops and starts, in order and not.
	for _, end := range []func(){m.Stop, m.Kill} {
		m.Query("crm", "INSERT INTO a VALUES (1000, 'before')")
		end()
		m.Start()
		m.Query("crm", "DELETE FROM a WHERE id = 1000")
		must(t, c.capture(t, s, c.proven(), is(t, m), time.Time{}))
		c.same(t, m)
	}
	if n := len(c.events); n != 27 {
		t.Errorf("%d transactions", n)
	}

	// Nothing comes: the time goes on all the same.
	must(t, c.capture(t, s, c.proven(), 0, time.Now().Add(2*time.Second).Truncate(time.Second)))
}
