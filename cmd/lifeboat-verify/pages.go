package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"lifeboat/evidence"
)

// pages writes reports for people into a directory. Its names are made of times and digests, and of nothing that a report says.
type pages struct {
	dir, lang string // no dir: nothing is written
	count     int
}

// newPages makes the directory. One that has something in it is refused: old pages among new ones would mislead.
func newPages(dir, lang string) (*pages, error) {
	p := &pages{dir: dir, lang: lang}
	if dir == "" {
		return p, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("write pages: %w", err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("write pages: %w", err)
	}
	if len(old) > 0 {
		return nil, fmt.Errorf("%w: --pages %s: the directory is not empty", errUsage, dir)
	}
	return p, nil
}

func (p *pages) write(o *evidence.Opened) error {
	if p.dir == "" {
		return nil
	}
	var b bytes.Buffer
	if err := evidence.Page(&b, o, p.lang); err != nil {
		return err
	}
	p.count++
	name := fmt.Sprintf("%04d-%s-%s.html", p.count, o.Report.Issued.UTC().Format("2006-01-02"), o.Digest[:12])
	if err := os.WriteFile(filepath.Join(p.dir, name), b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write pages: %w", err)
	}
	return nil
}

// printable keeps control characters away from the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
