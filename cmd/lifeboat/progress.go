package main

import (
	"io"
	"maps"
	"slices"
	"strings"
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

	copies  map[string]share // of what each copy is to get
	copying bool             // and that is what is shown,
	before  int64            // beside what they had
}

// share is a part of some bytes.
type share struct{ done, total int64 }

func (a *app) progress(phase string) *progress { return &progress{a: a, phase: phase} }

// start begins to show; total is in bytes, 0 where it is unknown.
func (p *progress) start(total int64) {
	if p.a.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes.Store(0)
	p.begin(total)
}

func (p *progress) begin(total int64) {
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
	p.show(sum)
}

func (p *progress) show(sum int64) {
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
		p.a.note("%s%s: %s%s, %s/s", p.phase, p.followed(), humanize.IBytes(uint64(sum)), of, humanize.IBytes(uint64(rate)))
	}
}

// follow notes how far a copy is that follows; it is safe for concurrent use.
func (p *progress) follow(target string, done, total int64) {
	if p.a.quiet || total == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.copies == nil {
		p.copies = map[string]share{}
	}
	before := p.copies[target]
	p.copies[target] = share{done, total}
	if p.bar != nil && before.left() != p.copies[target].left() {
		p.bar.Describe(p.phase + p.followed())
	}
	if p.copying {
		p.showCopies()
	}
}

// copied goes over to showing what the copies get.
func (p *progress) copied() {
	p.done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar, p.begun, p.phase, p.copying = nil, time.Time{}, "copy", true
	p.showCopies()
}

// showCopies begins once there is something to wait for, and shows what was done since.
func (p *progress) showCopies() {
	var sum share
	for _, s := range p.copies {
		sum.done, sum.total = sum.done+s.done, sum.total+s.total
	}
	if p.begun.IsZero() || p.bar != nil && p.bar.IsFinished() { // nothing brings a finished one back
		if sum.done == sum.total {
			return
		}
		p.before = sum.done
		p.begin(sum.total - p.before)
	}
	if total := sum.total - p.before; p.total != total {
		if p.total = total; p.bar != nil {
			p.bar.ChangeMax64(total)
		}
	}
	p.show(sum.done - p.before)
}

// followed says how much each copy still has to get.
func (p *progress) followed() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p.copies)) {
		all = append(all, name+": "+p.copies[name].left()+" to go")
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

func (s share) left() string { return humanize.IBytes(uint64(s.total - s.done)) }

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish() // as above
		_, _ = io.WriteString(p.a.err, "\r")
	}
}
