package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// database is what is backed up: what an engine supplies.
type database struct {
	name   string
	source string // of lifeboat.yaml
	dir    string
	files  *regexp.Regexp // those of dir that count, by their names in it
	page   int            // bytes
	churn  func(ctx context.Context, seed int64, n int) error
	check  func(restored string) error // instead of comparing files; nil: these
	close  func() error
}

// walk calls f for each file that counts.
func (d *database) walk(f func(name, path string, size int64) error) error {
	return filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, d.dir+"/")
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a server removes files that do not count
		}
		if err != nil || e.IsDir() || !d.files.MatchString(name) {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return f(name, path, info.Size())
	})
}

func (d *database) size() (n int64, err error) {
	return n, d.walk(func(_, _ string, size int64) error { n += size; return nil })
}

var seed = maphash.MakeSeed()

// pages are the hashes of each file's pages.
func (d *database) pages() (map[string][]uint64, error) {
	out := map[string][]uint64{}
	return out, d.walk(func(name, path string, _ int64) error {
		return blocks(path, d.page, func(p []byte) error {
			out[name] = append(out[name], maphash.Bytes(seed, p))
			return nil
		})
	})
}

// changed counts the pages that are not as before, and what they compress to in units of 1 MiB at zstd's level 3.
func (d *database) changed(before map[string][]uint64) (pages, packed int64, err error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(3)), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return 0, 0, err
	}
	var unit []byte
	flush := func() {
		packed += int64(len(enc.EncodeAll(unit, nil)))
		unit = unit[:0]
	}
	err = d.walk(func(name, path string, _ int64) error {
		old := before[name]
		return blocks(path, d.page, func(p []byte) error {
			same := len(old) > 0 && old[0] == maphash.Bytes(seed, p)
			old = old[min(1, len(old)):]
			if same {
				return nil
			}
			pages++
			if unit = append(unit, p...); len(unit) >= 1<<20 {
				flush()
			}
			return nil
		})
	})
	flush()
	return pages, packed, errors.Join(err, enc.Close())
}

// same makes sure that a restore brought back what is there.
func (d *database) same(restored string) error {
	if d.check != nil {
		return d.check(restored)
	}
	return d.walk(func(name, path string, _ int64) error {
		other, err := os.Open(filepath.Join(restored, name))
		if err != nil {
			return fmt.Errorf("the restore is wrong: %w", err)
		}
		defer other.Close()
		got := make([]byte, d.page)
		err = blocks(path, d.page, func(p []byte) error {
			if _, err := io.ReadFull(other, got[:len(p)]); err != nil || !bytes.Equal(p, got[:len(p)]) {
				return fmt.Errorf("%s and %s differ: the restore is wrong", path, other.Name())
			}
			return nil
		})
		if n, rerr := other.Read(got[:1]); err == nil && (n != 0 || !errors.Is(rerr, io.EOF)) {
			err = fmt.Errorf("%s is longer than %s: the restore is wrong", other.Name(), path)
		}
		return err
	})
}

// blocks reads a file block by block; the last may be shorter.
func blocks(path string, size int, f func([]byte) error) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	buf := make([]byte, max(size, 1<<16/size*size))
	for {
		n, err := io.ReadFull(in, buf)
		for at := 0; at < n; at += size {
			if err := f(buf[at:min(at+size, n)]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
