// Command bench measures the main job on a generated CRM database and prints one table: wall time, processor time, peak
// memory and what the repository grew by, next to other tools on the same database where they are installed. Run it alone
// on the machine, with `make bench`; the figures of one run are comparable with each other, those of two runs are not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"lifeboat/internal/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == "work" {
		return work(ctx, os.Args[2:])
	}
	b := &bench{}
	flag.StringVar(&b.engine, "engine", "sqlite", "sqlite, postgres or mariadb")
	flag.StringVar(&b.bin, "bin", "/usr/lib/postgresql/15/bin", "directory of the programs of PostgreSQL")
	flag.Int64Var(&b.megabytes, "mb", 2048, "size of the database in MiB")
	flag.IntVar(&b.seconds, "seconds", 30, "length of each run of pgbench with and without capture of the log; 0 leaves them out")
	flag.IntVar(&b.aging, "aging", 0, "also take this many increments with 1 % of the pages dirty each, then restore")
	flag.BoolVar(&b.copies, "copies", false, "measure instead what several copies cost and give, with a store and an SSH server on this machine")
	flag.IntVar(&b.runs, "runs", 3, "times to repeat each measurement; the median counts")
	flag.StringVar(&b.dir, "dir", "", "work here instead of a temporary directory (kept, and a database there is used again)")
	flag.Parse()
	return b.run(ctx)
}

// bench is one run of all measurements.
type bench struct {
	engine, bin   string
	megabytes     int64
	seconds       int
	aging         int
	copies        bool
	runs          int
	dir           string
	db            *database
	cluster       *cluster // of PostgreSQL
	maria         *testenv.MariaDB
	lifeboat      *tool
	tools         []*tool // lifeboat first, whatever the others are compared with
	recipient     string  // of the repository
	rows          []row
	pages, packed int64 // what the last updates changed
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "lifeboat-bench-*"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(b.dir) }() // a leftover in a temporary directory is harmless
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	open := map[string]func(context.Context) error{"sqlite": b.sqlite, "postgres": b.postgres, "mariadb": b.mariadb}[b.engine]
	if open == nil {
		return fmt.Errorf("-engine %s: expected sqlite, postgres or mariadb", b.engine)
	}
	defer func() {
		if b.db != nil {
			err = errors.Join(err, b.db.close())
		}
	}()
	steps := []func(context.Context) error{open, b.build, b.baseBackup, b.pgbackrest, b.byHand, b.restic, b.job, b.age, b.stream, b.delays}
	if b.copies {
		steps = []func(context.Context) error{open, b.build, b.several}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.print()
}

// works is what is done by a process of its own: a child's peak memory, as the system counts it, includes
// what its parent had when it was started, so the one that starts tools stays small.
var works = map[string]func(ctx context.Context, where string, x int64, n int) error{
	"generate sqlite": generateSQLite, "churn sqlite": churnSQLite,
	"load postgres": loadPostgres, "churn postgres": churnPostgres, "send": send,
}

func work(ctx context.Context, args []string) error {
	var x int64
	var n int
	if len(args) != 4 || works[args[0]] == nil {
		return fmt.Errorf("work %q: no such work", args)
	}
	if _, err := fmt.Sscan(args[2]+" "+args[3], &x, &n); err != nil {
		return err
	}
	return works[args[0]](ctx, args[1], x, n)
}

// self runs this program for work on a database.
func self(ctx context.Context, what, where string, x int64, n int) error {
	me, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, me, "work", what, where, fmt.Sprint(x), fmt.Sprint(n)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, out)
	}
	return nil
}
