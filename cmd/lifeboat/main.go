// Command lifeboat backs up CRM databases, restores them and proves it. Here are flags, messages and exit codes; what the
// commands do is in the packages below.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"lifeboat/internal/clock"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: clock.System}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
