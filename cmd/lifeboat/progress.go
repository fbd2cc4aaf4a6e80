package main

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
)

// every is how often long work says something where there is no terminal.
const every = 15 * time.Second

// progress shows how far long work is: a bar on a terminal, a line now and then elsewhere, nothing with --quiet.
type progress struct {
	a     *app
	phase string
	bytes atomic.Int64

	mu    sync.Mutex
	bar   *progressbar.ProgressBar
	begun time.Time
	said  time.Time
	total int64
}

func (a *app) progress(phase string) *progress { return &progress{a: a, phase: phase} }

// start begins to show; total is in bytes, 0 where it is unknown.
func (p *progress) start(total int64) {
	if p.a.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.total = p.a.now(), total
	p.said = p.begun
	if total == 0 {
		total = -1
	}
	if terminal(p.a.err) {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetDescription(p.phase), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetWriter(p.a.err), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
}

// add counts bytes; it is safe for concurrent use.
func (p *progress) add(n int64) {
	sum := p.bytes.Add(n)
	if p.a.quiet || !p.mu.TryLock() {
		return
	}
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Set64(sum) // a bar that cannot be drawn is no reason to fail
		return
	}
	if now := p.a.now(); !p.begun.IsZero() && now.Sub(p.said) >= every {
		p.said = now
		rate := float64(sum) / now.Sub(p.begun).Seconds()
		of := ""
		if p.total > 0 {
			of = " of " + humanize.IBytes(uint64(p.total))
		}
		p.a.note("%s: %s%s, %s/s", p.phase, humanize.IBytes(uint64(sum)), of, humanize.IBytes(uint64(rate)))
	}
}

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish() // as above
		_, _ = io.WriteString(p.a.err, "\r")
	}
}
