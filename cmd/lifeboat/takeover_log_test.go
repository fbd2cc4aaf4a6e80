package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/testenv"
)

// TestTakeOverLog takes over what a host had captured behind its last record, which must still restore; and again beside a capture, which must go on
// by the new keys.
func TestTakeOverLog(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 3)
	x.caught(pg)
	end(syscall.SIGKILL)
	x.must(os.RemoveAll(x.path("state")))
	x.want(0, "init", "--take-over", "--identity", x.path("key"))
	dir, query := x.boot(pg)
	if got := consistent(t, query); got != 3 {
		t.Errorf("%d entries came back, not 3", got)
	}
	testenv.StopPostgres(t, pg.Bin, dir)

	end = x.stream()
	x.streaming(pg)
	for i, args := range [][]string{{"init", "--take-over"}, {"keys", "rotate", "--yes"}} {
		x.want(0, append(args, "--identity", x.path("key"))...)
		add(pg, 1)
		x.eventually("the capture begins anew", func() bool {
			return strings.Count(string(x.read("stream.log")), "the keys of this host changed") == i+1
		}, &lockedBuffer{})
		x.streaming(pg)
		add(pg, 1)
		x.caught(pg)
	}
	x.whole(pg, end)
}
