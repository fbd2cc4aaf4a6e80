package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/restore"
)

// logged is what `log show --json` says.
func (x *fixture) logged(args ...string) (rows []logRow) {
	x.t.Helper()
	x.must(json.Unmarshal([]byte(x.want(0, append([]string{"log", "show", "crm", "--json", "--identity", x.path("key")}, args...)...).out), &rows))
	return rows
}

// TestLogShow compares what it lists with what a live server says of its own transactions, over captures that end and are taken up
// again, a promotion, and log that is lost.
func TestLogShow(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	pg.Query("postgres", "ALTER SYSTEM SET track_commit_timestamp = on")
	pg.Run("pg_ctl", "restart", "-D", pg.Dir, "-w", "-s", "-m", "fast", "-l", pg.Base+"/log")
	if s := x.want(0, "log", "show", "crm"); !strings.Contains(s.err, "no log of crm was captured") || strings.Count(s.out, "\n") != 1 {
		t.Errorf("without a log: %s", s)
	}
	x.real = true
	x.want(0, "backup", "crm")
	add := func(n int) {
		t.Helper()
		for range n {
			pg.Query("postgres", fmt.Sprintf(ledger, "'entry'"))
		}
	}
	streamed := func(what func()) {
		t.Helper()
		end := x.stream()
		for pg.Query("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active")[0][0] != "1" {
			time.Sleep(50 * time.Millisecond)
		}
		what()
		x.caught(pg)
		end(syscall.SIGTERM)
	}
	var aborted string
	streamed(func() {
		add(5)
		aborted = pg.Query("postgres", "BEGIN; INSERT INTO ledger VALUES (0, 0, 0); SELECT pg_current_xact_id()")[0][0]
		add(1)
		pg.Query("postgres", `SELECT pg_create_restore_point(E'before\nthe upgrade')`)
	})
	add(2)
	streamed(func() {
		add(3)
		promote(t, pg)
		add(4)
	})
	// All that the server knows, with LSNs that nothing but its own functions name.
	want := map[string]string{}
	for _, row := range pg.Query("postgres", "SELECT xmin, to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.USZ') FROM ledger") {
		want[row[0]] = row[1]
	}
	rows := x.logged()
	seen := map[string]bool{}
	var bytes uint64
	lines := map[string]int{}
	for _, r := range rows {
		if r.Time != nil && want[r.XID] == r.Time.Format("2006-01-02 15:04:05.000000Z") && r.Event == "commit" && !seen[r.XID] {
			seen[r.XID] = true
		} else if want[r.XID] != "" {
			t.Errorf("the log has %+v, the server says %q (seen: %v)", r, want[r.XID], seen[r.XID])
		}
		if r.XID == aborted && r.Event != "abort" {
			t.Errorf("a transaction that was rolled back is shown as %+v", r)
		}
		bytes += r.Log
		lines[fmt.Sprint(r.Event, " ", r.Timeline)]++
	}
	if len(seen) != len(want) {
		t.Errorf("%d of %d transactions are shown", len(seen), len(want))
	}
	if lines["restore_point 1"] != 1 || lines["timeline 2"] != 1 || lines["abort 1"] != 1 || lines["gap 1"]+lines["gap 2"] > 0 {
		t.Errorf("the log has %v", lines)
	}
	if first, last := rows[0], rows[len(rows)-1]; bytes > lsnNumber(t, last.End) || bytes < lsnNumber(t, last.End)-lsnNumber(t, first.Start) {
		t.Errorf("the transactions from %s to %s have %d bytes of log", first.Start, last.End, bytes)
	}
	x.logWindows(rows)

	x.want(0, "source", "remove", "crm", "--yes")
	add(3)
	pg.Query("postgres", "SELECT pg_switch_wal()")
	pg.Query("postgres", "CHECKPOINT")
	pg.Query("postgres", "SELECT pg_switch_wal()")
	pg.Query("postgres", "CHECKPOINT")
	streamed(func() { add(2) })
	var gaps []logRow
	for _, r := range x.logged() {
		if r.Event == "gap" {
			gaps = append(gaps, r)
		}
	}
	if len(gaps) != 1 || gaps[0].Reason != "the server had dropped this log" || gaps[0].Timeline != 2 || lsnNumber(t, gaps[0].Start) < lsnNumber(t, rows[len(rows)-1].End) {
		t.Errorf("the gap is shown as %+v", gaps)
	}
	text := x.want(0, "log", "show", "crm", "--identity", x.path("key")).out
	for _, part := range []string{"  gap up to ", `restore point "before\nthe upgrade"`, "timeline 2 begins here, where it left timeline 1\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	if got := strings.Count(text, "\n"); got != len(x.logged())+1 {
		t.Errorf("%d lines for %d rows:\n%s", got, len(x.logged()), text)
	}
}

// logWindows shows parts of a log, which begin and end exactly with a transaction.
func (x *fixture) logWindows(rows []logRow) {
	var timed []logRow
	for _, r := range rows {
		if r.Time != nil {
			timed = append(timed, r)
		}
	}
	for from := 0; from < len(timed); from += 3 {
		for to := from; to < len(timed); to += 4 {
			var got []logRow
			for _, r := range x.logged("--since", timed[from].Time.Format(logTime), "--until", timed[to].Time.In(time.FixedZone("", 8*3600)).Format("2006-01-02 15:04:05.000000Z07:00")) {
				if r.Time != nil {
					got = append(got, r)
				}
			}
			if fmt.Sprint(xids(got)) != fmt.Sprint(xids(timed[from:to+1])) {
				x.t.Errorf("from %s to %s: %v, not %v", timed[from].Time, timed[to].Time, xids(got), xids(timed[from:to+1]))
			}
		}
	}
}

func xids(rows []logRow) (out []string) {
	for _, r := range rows {
		out = append(out, r.Event+r.XID)
	}
	return out
}

func lsnNumber(t *testing.T, s string) uint64 {
	t.Helper()
	p, err := restore.ParsePoint("lsn:" + s)
	if err != nil {
		t.Fatal(err)
	}
	return *p.Position
}
