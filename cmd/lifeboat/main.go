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

// hangup ends a context where the terminal goes away: what is under way comes to its end as at SIGTERM, and leaves nothing. A shell may send SIGHUP
// a second time, and who reads the output may be gone: neither may end that. nohup is heeded.
func hangup(ctx context.Context) (context.Context, func()) {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		select {
		case <-hup:
			signal.Ignore(syscall.SIGPIPE)
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(hup)
		cancel()
	}
}
