package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// page lays out what the demo says: headings, commands with their output, and facts, one below the other.
type page struct {
	out    io.Writer
	body   io.Writer // what commands print goes here
	strong func(string) string
	count  int // headings
	gap    bool
}

func newPage(out io.Writer) *page {
	p := &page{out: out, body: &indented{w: out, prefix: "     "}, strong: func(s string) string { return s }}
	if _, plain := os.LookupEnv("NO_COLOR"); !plain && terminal(out) {
		p.strong = func(s string) string { return "\x1b[1m" + s + "\x1b[0m" }
	}
	return p
}

// line prints without indentation. A reader that went away ends the demo by a signal, not by an error of each line.
func (p *page) line(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format+"\n", args...) }

func (p *page) heading(text string) {
	p.count++
	p.line("\n%s\n", p.strong(fmt.Sprintf("%d  %s", p.count, text)))
	p.gap = false
}

// say prints a sentence of the demo's own.
func (p *page) say(format string, args ...any) {
	p.part()
	p.line("   "+format, args...)
}

// command prints what a person would type at a shell's prompt.
func (p *page) command(text string) {
	p.part()
	p.line("   %s", p.strong("$ "+text))
}

// part separates commands and paragraphs by an empty line.
func (p *page) part() {
	if p.gap {
		p.line("")
	}
	p.gap = true
}

// facts prints pairs of a name and what there is to say about it, aligned.
func (p *page) facts(pairs ...[2]string) {
	p.part()
	width := 0
	for _, f := range pairs {
		width = max(width, len(f[0]))
	}
	for _, f := range pairs {
		p.line("   %-*s  %s", width, f[0], f[1])
	}
}

// table prints rows of text in columns; all but the first column are flush right.
func (p *page) table(rows ...[]string) {
	p.part()
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(&b, "   %-*s", width[i], cell)
			} else {
				fmt.Fprintf(&b, "  %*s", width[i], cell)
			}
		}
		p.line("%s", b.String())
	}
}

// bytesText and timeText are sizes and durations as the demo prints them.
func bytesText(n int64) string            { return humanize.IBytes(uint64(max(n, 0))) }
func timeText(d time.Duration) string     { return fmt.Sprintf("%.2f s", d.Seconds()) }
func countText(n int64) string            { return humanize.Comma(n) }
func shortHash(hexadecimal string) string { return hexadecimal[:min(16, len(hexadecimal))] }

// indented writes lines to w with a prefix.
type indented struct {
	w      io.Writer
	prefix string
	within bool // a line that has not ended
}

func (i *indented) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if !i.within && len(line) > 1 {
			if _, err := io.WriteString(i.w, i.prefix); err != nil {
				return 0, err
			}
		}
		if _, err := i.w.Write(line); err != nil {
			return 0, err
		}
		i.within = line[len(line)-1] != '\n'
	}
	return len(b), nil
}
