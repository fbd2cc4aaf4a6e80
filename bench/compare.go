package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/klauspost/compress/zstd"
)

const page = 4096

// changed counts the pages that differ between two databases, and what they compress to in units of 1 MiB.
func changed(before, after string) (pages int, packed int64, err error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return 0, 0, err
	}
	var unit []byte
	flush := func() {
		packed += int64(len(enc.EncodeAll(unit, nil)))
		unit = unit[:0]
	}
	err = both(before, after, func(x, y []byte) error {
		for at := 0; at < len(y); at += page {
			p := y[at:min(at+page, len(y))]
			if at < len(x) && bytes.Equal(p, x[at:min(at+page, len(x))]) {
				continue
			}
			pages++
			if unit = append(unit, p...); len(unit) >= 1<<20 {
				flush()
			}
		}
		return nil
	})
	flush()
	return pages, packed, err
}

// same makes sure that a restore brought back what was there.
func same(a, b string) error {
	return both(a, b, func(x, y []byte) error {
		if !bytes.Equal(x, y) {
			return fmt.Errorf("%s and %s differ: the restore is wrong", a, b)
		}
		return nil
	})
}

// both reads two files side by side.
func both(a, b string, f func(x, y []byte) error) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err1 := io.ReadFull(fa, x)
		m, err2 := io.ReadFull(fb, y)
		if err := f(x[:n], y[:m]); err != nil {
			return err
		}
		if err2 != nil {
			if errors.Is(err2, io.EOF) || errors.Is(err2, io.ErrUnexpectedEOF) {
				return nil
			}
			return err2
		}
		if err1 != nil && !errors.Is(err1, io.EOF) && !errors.Is(err1, io.ErrUnexpectedEOF) {
			return err1
		}
	}
}

func copyFile(from, to string) error {
	out, err := exec.Command("cp", "--sparse=never", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return nil
}

// restic runs the same work with restic, where it is installed. Its file is the closed database: it takes no snapshot of a
// live one by itself.
func (b *bench) restic(ctx context.Context) error {
	bin, err := exec.LookPath("restic")
	if err != nil {
		b.rows = append(b.rows, row{tool: "restic", what: "not installed"})
		return nil
	}
	t := &tool{name: "restic", bin: bin, repo: filepath.Join(b.dir, "restic"), env: []string{"RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY=" + filepath.Join(b.dir, "restic"), "RESTIC_CACHE_DIR=" + filepath.Join(b.dir, "restic-cache")}}
	full := func() (row, error) {
		if err := errors.Join(os.RemoveAll(t.repo), os.RemoveAll(filepath.Join(b.dir, "restic-cache"))); err != nil {
			return row{}, err
		}
		if _, err := t.run(ctx, "init", "init", "--repository-version", "2"); err != nil {
			return row{}, err
		}
		return t.run(ctx, "full", "backup", "-q", b.db)
	}
	if err := b.median(full); err != nil {
		return err
	}
	if err := b.median(func() (row, error) { return t.run(ctx, "nothing changed, read again", "backup", "-q", "--force", b.db) }); err != nil {
		return err
	}
	if err := b.churn(ctx, 77, 5000); err != nil {
		return err
	}
	r, err := t.run(ctx, "5,000 updates", "backup", "-q", b.db)
	if err != nil {
		return err
	}
	b.rows = append(b.rows, r)
	return b.median(func() (row, error) {
		to := filepath.Join(b.dir, "restic-out")
		if err := os.RemoveAll(to); err != nil {
			return row{}, err
		}
		return t.run(ctx, "restore", "restore", "-q", "latest", "--target", to)
	})
}

func (b *bench) print() error {
	info, err := os.Stat(b.db)
	if err != nil {
		return err
	}
	fmt.Printf("database of %s, %d runs each, median\n\n", humanize.IBytes(uint64(info.Size())), b.runs)
	fmt.Println("| tool | what | seconds | MB/s of database | peak memory | repository grew by | |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, r := range b.rows {
		if r.wall == 0 {
			fmt.Printf("| %s | %s | | | | | |\n", r.tool, r.what)
			continue
		}
		fmt.Printf("| %s | %s | %.2f | %.0f | %s | %s | %s |\n", r.tool, r.what, r.wall.Seconds(), float64(info.Size())/1e6/r.wall.Seconds(),
			humanize.IBytes(uint64(r.peak)), humanize.IBytes(uint64(max(r.grown, 0))), r.note)
	}
	return nil
}
