package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"lifeboat/internal/crm"
)

// row is one line of the table.
type row struct {
	tool, what string
	wall       time.Duration
	peak       int64 // bytes of memory
	grown      int64 // bytes of repository
	note       string
}

// tool is a program with a repository.
type tool struct {
	name, bin, repo string
	env             []string
}

// run runs the program once; before and after it looks at the size of the repository.
func (t *tool) run(ctx context.Context, what string, args ...string) (row, error) {
	before, err := size(t.repo)
	if err != nil {
		return row{}, err
	}
	cmd := exec.CommandContext(ctx, t.bin, args...)
	cmd.Env = append(os.Environ(), t.env...)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	r := row{tool: t.name, what: what, wall: time.Since(begin)}
	if err != nil {
		return r, fmt.Errorf("%s %v: %w\n%s", t.name, args, err, out)
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.peak = u.Maxrss << 10
	}
	after, err := size(t.repo)
	r.grown = after - before
	return r, err
}

func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return n, err
}

// median repeats a measurement.
func (b *bench) median(f func() (row, error)) error {
	var rows []row
	for range b.runs {
		r, err := f()
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(x, y row) int { return int(x.wall - y.wall) })
	b.rows = append(b.rows, rows[len(rows)/2])
	return nil
}

func (b *bench) generate(ctx context.Context) error {
	if _, err := os.Stat(b.db); err == nil {
		return nil
	}
	return b.self(ctx, "generate", b.db, b.megabytes<<20, 0)
}

func (b *bench) churn(ctx context.Context, seed uint64, n int) error {
	return b.self(ctx, "churn", b.db, int64(seed), n)
}

// self runs this program for work on the database.
func (b *bench) self(ctx context.Context, what, db string, x int64, n int) error {
	me, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, me, "database", what, db, fmt.Sprint(x), fmt.Sprint(n)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, out)
	}
	return nil
}

func database(ctx context.Context, args []string) error {
	var x int64
	var n int
	if len(args) != 4 {
		return errors.New("wrong arguments")
	}
	if _, err := fmt.Sscan(args[2]+" "+args[3], &x, &n); err != nil {
		return err
	}
	if args[0] == "generate" {
		return crm.Generate(ctx, args[1], crm.Options{Seed: 1, Bytes: x, PageSize: 4096})
	}
	db, err := crm.Open(args[1])
	if err != nil {
		return err
	}
	err = crm.Churn(ctx, db, rand.New(rand.NewPCG(uint64(x), 1)), n)
	_, cerr := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return errors.Join(err, cerr, db.Close())
}

// build compiles lifeboat and makes a repository.
func (b *bench) build(ctx context.Context) error {
	bin := filepath.Join(b.dir, "lifeboat")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "lifeboat/cmd/lifeboat")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	b.lifeboat = &tool{name: "lifeboat", bin: bin, repo: filepath.Join(b.dir, "repo")}
	return nil
}

// fresh makes an empty repository.
func (b *bench) fresh(ctx context.Context) error {
	for _, name := range []string{"repo", "state", "id.txt"} {
		if err := os.RemoveAll(filepath.Join(b.dir, name)); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, b.lifeboat.bin, "keygen", "-o", filepath.Join(b.dir, "id.txt")).Output()
	if err != nil {
		return err
	}
	conf := fmt.Sprintf("repository: bench\nstate_dir: %s\nkeys:\n  recipients:\n  - %s\nsources:\n  crm: {engine: sqlite, path: %s}\ntargets:\n  disk: {type: local, path: %s}\n",
		filepath.Join(b.dir, "state"), out[:len(out)-1], b.db, b.lifeboat.repo)
	path := filepath.Join(b.dir, "lifeboat.yaml")
	b.lifeboat.env = []string{"LIFEBOAT_CONFIG=" + path, "LIFEBOAT_IDENTITY_FILE=" + filepath.Join(b.dir, "id.txt")}
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return err
	}
	_, err = b.lifeboat.run(ctx, "init", "init")
	return err
}

// main is the main job: full, nothing changed, 5,000 updates, restore.
func (b *bench) main(ctx context.Context) error {
	err := b.median(func() (row, error) {
		if err := b.fresh(ctx); err != nil {
			return row{}, err
		}
		return b.lifeboat.run(ctx, "full", "backup", "crm")
	})
	if err != nil {
		return err
	}
	if err := b.median(func() (row, error) { return b.lifeboat.run(ctx, "nothing changed", "backup", "crm") }); err != nil {
		return err
	}
	before := filepath.Join(b.dir, "before.db")
	err = b.median(func() (row, error) {
		if err := copyFile(b.db, before); err != nil {
			return row{}, err
		}
		if err := b.churn(ctx, uint64(time.Now().UnixNano()>>1), 5000); err != nil {
			return row{}, err
		}
		pages, packed, err := changed(before, b.db)
		if err != nil {
			return row{}, err
		}
		r, err := b.lifeboat.run(ctx, "5,000 updates", "backup", "crm")
		r.note = fmt.Sprintf("%d pages changed, %.2f x their compressed size", pages, float64(r.grown)/float64(packed))
		return r, err
	})
	if err != nil {
		return err
	}
	return b.median(func() (row, error) { return b.restore(ctx, "restore") })
}

func (b *bench) restore(ctx context.Context, what string) (row, error) {
	to := filepath.Join(b.dir, "out")
	if err := os.RemoveAll(to); err != nil {
		return row{}, err
	}
	r, err := b.lifeboat.run(ctx, what, "restore", "crm", "--to", to)
	if err != nil {
		return r, err
	}
	return r, same(b.db, filepath.Join(to, "crm.db"))
}

// age takes many increments and restores the last.
func (b *bench) age(ctx context.Context) error {
	if b.aging == 0 {
		return nil
	}
	if err := b.fresh(ctx); err != nil {
		return err
	}
	if _, err := b.lifeboat.run(ctx, "", "backup", "crm"); err != nil {
		return err
	}
	if err := b.median(func() (row, error) { return b.restore(ctx, "restore of the fresh full") }); err != nil {
		return err
	}
	var sum row
	for i := range b.aging {
		if err := b.churn(ctx, uint64(i)+100, int(b.megabytes<<20/4096/100)); err != nil {
			return err
		}
		r, err := b.lifeboat.run(ctx, fmt.Sprintf("%d increments, 1 %% dirty, mean", b.aging), "backup", "crm")
		if err != nil {
			return err
		}
		r.wall += sum.wall
		r.grown += sum.grown
		r.peak = max(r.peak, sum.peak)
		sum = r
	}
	sum.wall /= time.Duration(b.aging)
	sum.grown /= int64(b.aging)
	b.rows = append(b.rows, sum)
	return b.median(func() (row, error) { return b.restore(ctx, fmt.Sprintf("restore after %d increments", b.aging)) })
}
