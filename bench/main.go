// Command bench measures the main job on a generated CRM database and prints one table: wall time, peak memory and what
// the repository grew by, next to restic on the same file where it is installed. Run it alone on the machine, with
// `make bench`; the figures of one run are comparable with each other, those of two runs are not.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	// Work on the database is done by processes of its own: a child's peak memory, as the system counts it, includes what
	// its parent had when it was started.
	if len(os.Args) > 1 && os.Args[1] == "database" {
		if err := database(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	b := &bench{}
	flag.Int64Var(&b.megabytes, "mb", 2048, "size of the database in MiB")
	flag.IntVar(&b.aging, "aging", 0, "also take this many increments with 1 % of the pages dirty each, then restore")
	flag.IntVar(&b.runs, "runs", 3, "times to repeat each measurement; the median counts")
	flag.StringVar(&b.dir, "dir", "", "work here instead of a temporary directory (kept, and a database there is used again)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of all measurements.
type bench struct {
	megabytes int64
	aging     int
	runs      int
	dir       string
	db        string
	lifeboat  *tool
	rows      []row
}

func (b *bench) run(ctx context.Context) error {
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "lifeboat-bench-*")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // a leftover in a temporary directory is harmless
		b.dir = dir
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	b.db = filepath.Join(b.dir, "crm.db")
	if err := b.generate(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{b.build, b.main, b.restic, b.age} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.print()
}
