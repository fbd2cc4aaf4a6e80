package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/testenv"
)

// TestPostgresRestoreFaults asks for what cannot be restored, and spoils the log on the target: nothing else than what was asked
// for comes back, and nothing is left.
func TestPostgresRestoreFaults(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 2)
	aborted := pg.Query("postgres", "BEGIN; INSERT INTO ledger VALUES (99, 0, 0, ''); SELECT pg_current_xact_id()")[0][0] // and ends
	for range 2 {
		pg.Query("postgres", "SELECT pg_create_restore_point('twice')")
	}
	before := pg.Query("postgres", "SELECT xmin FROM ledger WHERE id = 2")[0][0]
	pg.Query("postgres", noise+"; "+noise)
	add(pg, 2)
	behind := pg.Query("postgres", "SELECT xmin FROM ledger WHERE id = 4")[0][0]
	at := pg.Query("postgres", "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[0][0]
	add(pg, 1)
	x.caught(pg)
	end(syscall.SIGTERM)
	x.must(os.Mkdir(x.path("nothing"), 0o700))
	x.small("20m", "tight")
	refuse := func(code int, says []string, args ...string) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "never")
		if args[0] == "--to" {
			to, args = args[1], args[2:]
		}
		s := x.run(append([]string{"restore", "crm", "--identity", x.path("key"), "--to", to}, args...)...)
		for _, word := range says {
			if s.code != code || !strings.Contains(s.err, word) {
				t.Errorf("restore %v: want %d and %q: %s", args, code, word, s)
			}
		}
		if left, err := filepath.Glob(filepath.Join(to, "*")); err != nil || len(left) > 0 {
			t.Errorf("restore %v left %v (%v)", args, left, err)
		}
	}
	refuse(4, []string{"rolled back", "lsn:"}, "--at", "xid:"+aborted)
	refuse(4, []string{"2 points", "twice", "lsn:"}, "--at", "name:twice")
	refuse(4, []string{"15 is needed", "--engine-bin"}, "--start", "--engine-bin", x.path("nothing"))
	refuse(4, []string{"free: choose another place or make room"}, "--to", x.path("tight"))

	var segments []string
	for _, name := range x.objects("disk") {
		if strings.HasPrefix(name, "log/") && strings.Contains(name, "-segment-") {
			segments = append(segments, name)
		}
	}
	if len(segments) < 3 {
		t.Fatalf("%d segments: this test proves nothing", len(segments))
	}
	middle := segments[len(segments)/2]
	whole := x.read("disk", middle)
	for how, body := range map[string][]byte{"deleted": nil, "damaged": spoil("flip", whole)} {
		x.put(body, "disk", middle)
		code, says := 1, []string{filepath.Base(middle), "try another copy with --from"}
		if body == nil {
			code, says = 4, []string{"the captured log", "`lifeboat window`"}
		}
		t.Run(how, func(t *testing.T) {
			x.t = t
			refuse(code, says, "--at", "xid:"+behind)
			refuse(code, says, "--at", at)
			if s := x.want(3, "check", "--identity", x.path("key")); !strings.Contains(s.out, middle) {
				t.Errorf("check does not name %s: %s", middle, s)
			}
			_, query := x.boot(pg, "--at", "xid:"+before)
			if n := consistent(t, query); n != 2 {
				t.Errorf("%d entries came back before the fault, not 2", n)
			}
		})
		x.t = t
		x.put(whole, "disk", middle)
	}
	_, query := x.boot(pg, "--at", "xid:"+behind)
	if n := consistent(t, query); n != 4 {
		t.Errorf("%d entries came back, not 4", n)
	}
}
