package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
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

	// Files have checksums, and others have none.
	events := len(c.events)
	for _, kind := range []string{"NONE", "CRC32"} {
		m.Query("", "SET GLOBAL binlog_checksum = "+kind)
		m.Query("crm", "INSERT INTO a VALUES (2000, 'x')")
		m.Query("crm", "DELETE FROM a WHERE id = 2000")
		if kind == "NONE" {
			continue // those with it are read once there are none
		}
		must(t, c.capture(t, s, c.proven(), is(t, m), time.Time{}))
		c.same(t, m)
	}
	m.Query("", "SET GLOBAL binlog_checksum = NONE")
	m.Query("crm", "INSERT INTO a VALUES (2000, 'x')")
	m.Query("crm", "DELETE FROM a WHERE id = 2000")
	must(t, c.capture(t, s, c.proven(), is(t, m), time.Time{}))
	c.same(t, m)
	if n := len(c.events) - events; n != 6 {
		t.Errorf("%d transactions of 6", n)
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
	if n := len(c.events); n != 33 {
		t.Errorf("%d transactions", n)
	}

	// Nothing comes: the time goes on all the same.
	must(t, c.capture(t, s, c.proven(), 0, time.Now().Add(2*time.Second).Truncate(time.Second)))
}

// first begins to capture the log where a server is.
func first(t *testing.T, m *testenv.MariaDB, s *Source) *captured {
	t.Helper()
	c := &captured{}
	must(t, c.capture(t, s, snapshot.LogEnd{}, is(t, m), time.Time{}))
	return c
}

// more captures what came since, as a repository does where nothing was committed before.
func (c *captured) more(t *testing.T, m *testenv.MariaDB, s *Source) {
	t.Helper()
	end := c.proven()
	if end.Same == nil {
		end.From, end.To, end.Same = c.begin, c.begin+1, func([]byte) bool { return true }
	}
	must(t, c.capture(t, s, end, is(t, m), time.Time{}))
}

// TestStreamLost does not go on where the log is another one, or no longer there.
func TestStreamLost(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t)
	m.Query("", "CREATE DATABASE crm")
	m.Query("crm", "CREATE TABLE a (id INT PRIMARY KEY)")
	s := New(m.DSN("root", ""), "")
	c := first(t, m, s)
	m.Query("crm", "INSERT INTO a VALUES (1)")
	c.more(t, m, s)
	fails := func(end snapshot.LogEnd, want error, words string) {
		t.Helper()
		if log, err := s.OpenLog(t.Context(), end); !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v", err)
			if err == nil {
				must(t, log.Close())
			}
		}
	}
	end := c.proven()
	end.Same = func([]byte) bool { return false }
	fails(end, snapshot.ErrOther, "it has another log")
	end = c.proven()
	end.Offset += 1000
	fails(end, snapshot.ErrOther, "was seen up to")
	end = c.proven()
	end.Same = nil
	fails(end, snapshot.ErrLogGone, "nothing is left")
	end.System = "mysql-bin"
	fails(end, snapshot.ErrOther, "is called binlog")

	before := c.proven()
	m.Query("", "FLUSH BINARY LOGS")
	for m.Query("", "SHOW BINARY LOGS")[0][0] != "binlog.000002" { // who read it before may still be known to do so
		m.Query("", "PURGE BINARY LOGS TO 'binlog.000002'")
		time.Sleep(50 * time.Millisecond)
	}
	fails(before, snapshot.ErrLogGone, "binlog.000002")
	m.Query("", "RESET MASTER")
	m.Query("crm", "INSERT INTO a VALUES (2), (3), (4), (5), (6), (7), (8), (9)")
	for is(t, m) <= before.Offset {
		m.Query("crm", "DELETE FROM a WHERE id = 9")
		m.Query("crm", "INSERT INTO a VALUES (9)")
	}
	fails(before, snapshot.ErrOther, "it has another log")

	// The same by what a snapshot keeps, where nothing was captured.
	m2 := Manifest{Mode: Logical, Version: "10.11.0-MariaDB", File: "binlog.000001", Position: before.Offset & (1<<snapshot.BinlogBits - 1)}
	at, err := parse(s.dsn, "")
	must(t, err)
	m2.Position = is(t, m) & (1<<snapshot.BinlogBits - 1)
	if f := m2.anchor(t.Context(), at, nil); len(f) > 0 || m2.GTID == "" || m2.Header == nil {
		t.Fatalf("%+v %+v", f, m2)
	}
	m.Query("crm", "DELETE FROM a WHERE id = 1")
	b, err := json.Marshal(m2)
	must(t, err)
	end = snapshot.LogEnd{System: "binlog", Pos: snapshot.Pos{Line: firstLine, Offset: snapshot.BinlogOffset(1, m2.Position)}, Manifest: b}
	log, err := s.OpenLog(t.Context(), end)
	must(t, err)
	must(t, log.Close())
	m.Query("", "RESET MASTER")
	for is(t, m) <= end.Offset {
		m.Query("crm", "DELETE FROM a WHERE id = 9")
		m.Query("crm", "INSERT INTO a VALUES (9)")
	}
	fails(end, snapshot.ErrOther, "it has another log")

	// Nor does a snapshot go on from one of another log, unless it is to.
	for _, anew := range []bool{false, true} {
		prior := &snapshot.Prior{Log: before, Manifest: b, Anew: anew}
		v, err := s.Open(t.Context(), prior)
		if anew != (err == nil) || err != nil && !errors.Is(err, snapshot.ErrOther) {
			t.Fatal(err)
		}
		if err == nil {
			sum, err := readAll(t.Context(), v, nil)
			must(t, err)
			must(t, v.Close())
			if !sum.Anew {
				t.Error("it goes on from another log")
			}
		}
	}
}

// TestStreamBroken goes on behind nothing that a server that died left broken: what was lost there nobody knows.
func TestStreamBroken(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(log []byte, last int) []byte{
		"unfinished": func(log []byte, last int) []byte { return append(log, log[last:last+30]...) },
		"damaged":    func(log []byte, last int) []byte { log[last+atSize+2] = 0xff; return log }, // the length of the last transaction's first event
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := testenv.StartMariaDB(t, "sync_binlog=1")
			m.Query("", "CREATE DATABASE crm")
			m.Query("crm", "CREATE TABLE a (id INT PRIMARY KEY)")
			s := New(m.DSN("root", ""), "")
			c := first(t, m, s)
			m.Query("crm", "INSERT INTO a VALUES (1)")
			c.more(t, m, s)
			end := c.proven()
			_, last := snapshot.SplitBinlog(is(t, m))
			m.Query("crm", "INSERT INTO a VALUES (2)")
			m.Kill()
			path := filepath.Join(m.Dir, "binlog.000001")
			log, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, spoil(log, int(last)), 0o600))
			m.Start()
			m.Query("crm", "INSERT INTO a VALUES (3)")
			if err := c.capture(t, s, end, is(t, m), time.Time{}); !errors.Is(err, snapshot.ErrLogGone) || !strings.Contains(err.Error(), "binlog.000001 is broken") {
				t.Error(err)
			}
		})
	}
}

// TestStreamLarge takes up again within a transaction that is larger than a segment, and counts what is compressed.
func TestStreamLarge(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t, "log_bin_compress=ON", "binlog_checksum=NONE", "max_allowed_packet=64M")
	m.Query("", "CREATE DATABASE crm")
	m.Query("crm", "CREATE TABLE a (id INT PRIMARY KEY, b LONGBLOB)")
	s := New(m.DSN("root", ""), "")
	c := first(t, m, s)
	m.Query("crm", "INSERT INTO a SELECT seq, RANDOM_BYTES(1000) FROM seq_1_to_40000")
	m.Query("crm", "INSERT INTO a SELECT 50000, REPEAT(RANDOM_BYTES(1024), 20000)")
	must(t, c.capture(t, s, snapshot.LogEnd{Pos: snapshot.Pos{Line: firstLine, Offset: c.end}, System: "binlog", Same: func([]byte) bool { return true }, From: c.begin, To: c.begin + 1}, c.begin+17<<20, time.Time{}))
	if c.whole == 0 || len(c.events) > 0 {
		t.Fatalf("a segment ends at %d, with %d transactions", c.whole, len(c.events))
	}
	c.more(t, m, s)
	c.same(t, m)
	if len(c.events) != 2 || c.events[0].Start >= c.whole || c.events[0].Note != `[{"table":"crm.a","inserted":40000}]` || c.events[1].Note != `[{"table":"crm.a","inserted":1}]` {
		t.Errorf("%+v", c.events)
	}
}

// TestStreamRefused says why there is nothing to capture.
func TestStreamRefused(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t, "skip_log_bin")
	if _, err := New(m.DSN("root", ""), "").OpenLog(t.Context(), snapshot.LogEnd{}); !errors.Is(err, errNoBinlog) || !strings.Contains(err.Error(), "log_bin = binlog") {
		t.Error(err)
	}
	m.Stop()
	m = testenv.StartMariaDB(t)
	m.Query("", "CREATE USER nobody@localhost")
	if _, err := New(m.DSN("nobody", ""), "").OpenLog(t.Context(), snapshot.LogEnd{}); err == nil || !strings.Contains(err.Error(), "`lifeboat doctor` prints the SQL that grants it") {
		t.Error(err)
	}
	m.Query("", "GRANT BINLOG MONITOR ON *.* TO nobody@localhost")
	log, err := New(m.DSN("nobody", ""), "").OpenLog(t.Context(), snapshot.LogEnd{})
	must(t, err)
	for _, err = range log.Pieces(t.Context()) {
		break
	}
	if err == nil || !strings.Contains(err.Error(), "REPLICATION SLAVE") || !strings.Contains(err.Error(), "`lifeboat doctor`") {
		t.Error(err)
	}
	must(t, log.Close())
}

// TestEncrypted refuses a file of which the server keeps an event to itself, as it does where it is encrypted.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t)
	m.Query("", "FLUSH BINARY LOGS")
	log, err := os.ReadFile(filepath.Join(m.Dir, "binlog.000001"))
	must(t, err)
	d := &dump{at: snapshot.BinlogOffset(1, uint64(len(binlogMagic)))}
	for at := len(binlogMagic); at < len(log); {
		h, err := readHeader(log[at:])
		must(t, err)
		b := bytes.Clone(log[at : at+h.size])
		if h.kind != formatEvent {
			binary.LittleEndian.PutUint32(b[atEnd:], h.end+encryptionSize)
			binary.LittleEndian.PutUint32(b[h.size-4:], crc32.ChecksumIEEE(b[:h.size-4]))
		}
		_, _, err = d.take(b)
		if h.kind != formatEvent {
			if !errors.Is(err, errEncrypted) || !strings.Contains(describe("capture", &server{}, err).Error(), "encrypt_binlog = OFF") {
				t.Error(err)
			}
			return
		}
		must(t, err)
		at += h.size
	}
	t.Error("there is nothing in the file")
}

// TestChanges counts the rows of tables of every type of column, and of events that were tampered with none too many, without an end or a panic.
func TestChanges(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t)
	m.Query("", "CREATE DATABASE crm")
	columns := []string{"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(65,30)", "DECIMAL(10,0)", "DECIMAL(9,9)", "BIT(1)", "BIT(17)", "BOOL", "DATE", "TIME", "TIME(3)", "DATETIME", "DATETIME(6)", "TIMESTAMP NULL",
		"TIMESTAMP(1) NULL", "YEAR", "CHAR(3)", "CHAR(255) CHARACTER SET utf8mb4", "VARCHAR(20)", "VARCHAR(3000)", "VARCHAR(200) COMPRESSED", "BINARY(16)", "VARBINARY(300)", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "TEXT COMPRESSED", "BLOB",
		"ENUM('a','b')", "SET('a','b','c','d','e','f','g','h','i','j')", "POINT", "JSON", "UUID", "INET6", "INET4"}
	values := []string{"1", "2", "3", "4", "5", "1.5", "2.5", "12345678901234567890.5", "-77", "0.123456789", "1", "77777", "1", "'2026-01-02'", "'10:11:12'", "'-10:11:12.345'", "'2026-01-02 03:04:05'", "'2026-01-02 03:04:05.678901'", "'2026-01-02 03:04:05'",
		"'2026-01-02 03:04:05.6'", "2026", "'abc'", "REPEAT('\u5ba2', 255)", "'varchar'", "REPEAT('x', 2999)", "REPEAT('y', 200)", "'0123456789abcdef'", "REPEAT('z', 300)", "'tiny'", "REPEAT('t', 70)", "REPEAT('m', 70000)", "REPEAT('l', 7)", "REPEAT('c', 900)", "'blob'",
		"'b'", "'a,j'", "POINT(1, 2)", "'{}'", "'123e4567-e89b-12d3-a456-426655440000'", "'::1'", "'10.0.0.1'"}
	table := "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT"
	for i, c := range columns {
		table += fmt.Sprintf(", c%d %s", i, c)
	}
	m.Query("crm", table+")")
	s := New(m.DSN("root", ""), "")
	c := first(t, m, s)
	row := "(NULL, " + strings.Join(values, ", ") + ")"
	m.Query("crm", "INSERT INTO a VALUES "+row+", "+row+", (NULL"+strings.Repeat(", NULL", len(columns))+")")
	m.Query("crm", "UPDATE a SET c3 = 7, c21 = NULL")
	m.Query("crm", "DELETE FROM a WHERE id > 1")
	c.more(t, m, s)
	var notes []string
	for _, e := range c.events {
		notes = append(notes, e.Note)
	}
	if want := []string{`[{"table":"crm.a","inserted":3}]`, `[{"table":"crm.a","updated":3}]`, `[{"table":"crm.a","deleted":2}]`}; !slices.Equal(notes, want) {
		t.Errorf("%v", notes)
	}
	log := c.files[1]
	r := rand.New(rand.NewPCG(3, 3))
	for range 3000 {
		g := groups{sum: 4}
		b := bytes.Clone(log)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		for at := 0; at < len(b); {
			h, err := readHeader(b[at:])
			if err != nil || h.size > len(b)-at {
				break
			}
			if _, _, err := g.event(h, b[at:at+h.size], uint64(at), uint64(at+h.size)); err != nil {
				break
			}
			at += h.size
		}
	}
}

// TestBehind reads states of one domain and of several.
func TestBehind(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]bool{"": false, "0-1-7": false, "0-2-8": true, "5-1-9": false, "5-1-9,0-3-8": true, "5-1-9,0-3-6": false, "x": false} {
		if got := behind(state, "0-1-7"); got != want {
			t.Errorf("%q: %v", state, got)
		}
	}
}
