package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long capture may take to catch up with the server.
const patience = 10 * time.Minute

// stream compares the rate of transactions without capture of the log beside them with those with it, each in turn.
func (b *bench) stream(ctx context.Context) error {
	if b.cluster == nil || b.seconds == 0 {
		return nil
	}
	if err := b.fresh(ctx); err != nil {
		return err
	}
	if _, err := b.lifeboat.run(ctx, "", b.lifeboat.full...); err != nil {
		return err
	}
	receiver := &tool{name: "pg_receivewal", bin: b.cluster.program("pg_receivewal"), repo: filepath.Join(b.dir, "wal")}
	who := []*tool{nil, b.lifeboat, receiver}
	if _, err := exec.LookPath(receiver.bin); err != nil {
		who = who[:2]
	}
	ratios, rows := map[*tool][]float64{}, map[*tool][]row{}
	var delays []time.Duration
	for range b.runs {
		rates := map[*tool]float64{}
		for _, t := range who {
			p := &phase{bench: b, with: t}
			if err := p.run(ctx); err != nil {
				return err
			}
			rates[t] = p.rate
			delays = append(delays, p.delays...)
			p.row.ratio = 1 // it is not compared by time
			rows[t] = append(rows[t], p.row)
		}
		for t, rate := range rates {
			ratios[t] = append(ratios[t], rate/rates[nil])
		}
		who = append(who[1:], who[0]) // each goes first as often
	}
	slices.Sort(delays)
	at := func(share float64) time.Duration {
		return delays[int(share*float64(len(delays)-1))].Round(time.Millisecond)
	}
	for _, t := range []*tool{b.lifeboat, receiver} {
		list := ratios[t]
		if list == nil {
			continue
		}
		slices.Sort(list)
		r := median(rows[t])
		r.ratio = 0
		r.note = fmt.Sprintf("%.3f x the rate without (%.3f to %.3f)", list[len(list)/2], list[0], list[len(list)-1])
		if t == b.lifeboat {
			r.note += fmt.Sprintf("; durable on the target after %s (p50), %s (p99), %s at most", at(0.5), at(0.99), at(1))
		}
		b.rows = append(b.rows, r)
	}
	return nil
}

// phase is one run of pgbench.
type phase struct {
	*bench
	with   *tool   // that captures the log beside it; nil: none
	rate   float64 // transactions per second
	delays []time.Duration
	row    row
	conn   *pgx.Conn
	cmd    *exec.Cmd // captures the log
	ended  chan error
}

func (p *phase) run(ctx context.Context) (err error) {
	if p.conn, err = connect(ctx, p.cluster.base); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.conn.Close(context.WithoutCancel(ctx))) }()
	p.cmd, p.ended = p.lifeboat.command(ctx, "stream", "crm"), make(chan error, 1)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	defer func() {
		if p.cmd != nil { // something failed
			err = errors.Join(err, p.end())
		}
	}()
	// Both begin alike: everything captured until now, and the log's files free to be used again.
	begun := make(chan struct{})
	close(begun)
	if _, err := p.watch(ctx, begun, true); err != nil {
		return err
	}
	if p.with != p.lifeboat {
		if err := p.end(); err != nil {
			return err
		}
	}
	if err := p.cluster.exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	if p.with != nil && p.with != p.lifeboat {
		if err := p.receive(ctx); err != nil {
			return err
		}
	}
	if p.with == nil {
		return p.load(ctx)
	}
	before, err := size(p.with.repo)
	if err != nil {
		return err
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	if err := p.end(); err != nil {
		return err
	}
	after, err := size(p.with.repo)
	p.row.grown = after - before
	return err
}

// receive starts the server's own receiver of log, which stores it as it is.
func (p *phase) receive(ctx context.Context) error {
	if err := errors.Join(os.RemoveAll(p.with.repo), os.Mkdir(p.with.repo, 0o700)); err != nil {
		return err
	}
	p.cmd = p.with.command(ctx, append([]string{"-D", p.with.repo, "--no-loop"}, p.cluster.reach()...)...)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return nil
}

// end ends capture.
func (p *phase) end() error {
	cmd := p.cmd
	p.cmd = nil
	if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-p.ended; err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, cmd.Stderr)
	}
	p.row.used(cmd.ProcessState)
	return nil
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// load lets pgbench work, and watches meanwhile even where no log is captured: that costs a little too.
func (p *phase) load(ctx context.Context) (err error) {
	cmd := exec.CommandContext(ctx, p.cluster.program("pgbench"), append([]string{"-n", "-c", "4", "-T", strconv.Itoa(p.seconds), "postgres"}, p.cluster.reach()...)...)
	done, watched := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		p.delays, err = p.watch(ctx, done, p.with == p.lifeboat)
		watched <- err
	}()
	if p.row = (row{what: "log captured beside pgbench -c 4"}); p.with != nil {
		p.row.tool = p.with.name
	}
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	p.row.wall = time.Since(begin)
	close(done)
	if err != nil {
		return errors.Join(fmt.Errorf("pgbench: %w\n%s", err, out), <-watched)
	}
	if err := <-watched; err != nil {
		return err
	}
	found := tps.FindSubmatch(out)
	if found == nil {
		return fmt.Errorf("pgbench: no rate in %s", out)
	}
	p.rate, err = strconv.ParseFloat(string(found[1]), 64)
	return err
}

// progress is how far the server's log is on its own disk, and on a target as far as the server was told.
const progress = `SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint,
	coalesce((SELECT max(flush_lsn - '0/0') FROM pg_stat_replication WHERE application_name = 'lifeboat'), 0)::bigint`

// watch notes where the log is until done is closed, and how long each position took to be durable on a target, where log
// is captured. Both clocks err to the longer side: a position is taken as older than the question, and durable with the answer.
func (p *phase) watch(ctx context.Context, done <-chan struct{}, captured bool) (delays []time.Duration, err error) {
	type sample struct {
		at  int64
		now time.Time
	}
	var open []sample
	for last := false; ; time.Sleep(10 * time.Millisecond) {
		var at, durable int64
		asked := time.Now()
		if err := p.conn.QueryRow(ctx, progress).Scan(&at, &durable); err != nil {
			return nil, err
		}
		if captured && !last {
			open = append(open, sample{at, asked})
		}
		for ; len(open) > 0 && open[0].at <= durable; open = open[1:] {
			delays = append(delays, time.Since(open[0].now))
		}
		select {
		case <-done:
			last = true
		default:
		}
		if last && len(open) == 0 {
			return delays, nil
		}
		if len(open) > 0 && time.Since(open[0].now) > patience {
			return nil, fmt.Errorf("lifeboat stream has not captured in %s what was written before", patience)
		}
	}
}
