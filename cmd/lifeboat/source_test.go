package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// TestSourceRemove drops the slot of a source, but not under a stream; what was backed up stays.
func TestSourceRemove(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	slots := func(where string) int {
		t.Helper()
		return len(pg.Query("postgres", "SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'lifeboat_crm_crm' AND "+where))
	}
	if s := x.want(0, "source", "remove", "crm", "--yes"); !strings.Contains(s.out, "nothing to remove") {
		t.Errorf("before there was a slot: %s", s)
	}
	x.want(0, "backup", "crm")
	x.real = true
	end := x.stream()
	for slots("active") == 0 {
		time.Sleep(50 * time.Millisecond)
	}
	if s := x.want(4, "source", "remove", "crm", "--yes"); !strings.Contains(s.err, "refused: the log is being captured through it\nhint: end `lifeboat stream`") {
		t.Errorf("under a stream: %s", s)
	}
	x.caught(pg)
	end(syscall.SIGTERM)
	for slots("active") > 0 {
		time.Sleep(50 * time.Millisecond)
	}
	if s := x.want(4, "source", "remove", "crm"); !strings.Contains(s.err, "nothing was done: repeat with --yes") || slots("true") != 1 {
		t.Errorf("without a terminal and --yes: %d slots, %s", slots("true"), s)
	}
	if s := x.want(0, "source", "remove", "crm", "--yes", "--reason", "the CRM moves"); !strings.Contains(s.out, "crm: removed its replication slot on 127.0.0.1:") || slots("true") != 0 {
		t.Errorf("%d slots are left: %s", slots("true"), s)
	}
	if s := x.want(0, "audit", "log"); !strings.Contains(s.out, "its slot was removed") || !strings.Contains(s.out, "the CRM moves") {
		t.Errorf("the audit log: %s", s)
	}
	if s := x.want(0, "source", "remove", "crm", "--yes"); !strings.Contains(s.out, "nothing to remove") {
		t.Errorf("the second time: %s", s)
	}
	x.boot(pg)
	pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "fast")
	if s := x.want(1, "source", "remove", "crm", "--yes"); !strings.Contains(s.err, "remove slot lifeboat_crm_crm on 127.0.0.1:") || !strings.Contains(s.err, "hint: is the server running") {
		t.Errorf("without a server: %s", s)
	}
	x.want(2, "source", "remove", "nobody", "--yes")
}
