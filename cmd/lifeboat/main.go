// Command lifeboat backs up CRM databases, restores them and proves it. Here are flags, messages and exit codes; what the
// commands do is in the packages below.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// gcPercent trades a little time for memory: buffers live long and are used again, so there is little garbage to collect,
// and the customary twice their size would be kept for nothing.
const gcPercent = 50

// noCoreDumps keeps keys and customers' data out of core files. Where it cannot be set the program goes on: the limit is a
// second line of defence.
func noCoreDumps() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }

func main() {
	debug.SetGCPercent(gcPercent)
	noCoreDumps()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what does not listen
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
