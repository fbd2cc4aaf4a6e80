package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/crm"
	"lifeboat/snapshot"
)

// captureTimeout bounds the wait for a log that should be there after a second.
const captureTimeout = time.Minute

// around is how many transactions before and after the mistake the demo shows.
const around = 3

// background is a command of this program that runs beside the story.
type background struct {
	command string
	log     string // file with what it says
	stop    context.CancelFunc
	done    chan int // its exit code
}

// background shows a command as a person would start it in the background, and starts it in this process, which it cannot outlive. It
// runs until end, whatever becomes of ctx.
func (s *story) background(ctx context.Context, log string, args ...string) (*background, error) {
	b := &background{command: "lifeboat " + strings.Join(args, " "), log: log, done: make(chan int, 1)}
	s.page.command(b.command + " 2> " + log + " &")
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	a := s.program(f)
	a.err = f
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		code := a.run(ctx, args)
		if err := f.Close(); err != nil {
			code = exitFailed
		}
		b.done <- code
	}()
	return b, nil
}

// alive tells why a command has ended that should run.
func (b *background) alive() error {
	select {
	case code := <-b.done:
		b.done <- code
		return b.failed(code)
	default:
		return nil
	}
}

// end interrupts the command and waits for it.
func (b *background) end() error {
	b.stop()
	if code := <-b.done; code != exitDone {
		return b.failed(code)
	}
	return nil
}

func (b *background) failed(code int) error {
	said, err := os.ReadFile(b.log)
	return errors.Join(fmt.Errorf("`%s` ended with exit code %d: %s", b.command, code, bytes.TrimSpace(said)), err)
}

// begin lets another command capture the log from here on.
func (p *postgresStage) begin(ctx context.Context) (err error) {
	p.page.say("The log is captured about once a second, by a command that never ends:")
	p.page.gap = false
	if p.from, err = p.query(ctx, "SELECT pg_current_wal_flush_lsn()"); err != nil {
		return err
	}
	p.since = p.now()
	if p.capture, err = p.background(ctx, "stream.log", "stream", "crm"); err != nil {
		return err
	}
	return p.wait(ctx, func() (bool, error) {
		n, err := p.query(ctx, "SELECT count(*) FROM pg_replication_slots WHERE active AND NOT temporary")
		return n == "1", err
	})
}

// wait looks until something has happened, while the log is captured.
func (p *postgresStage) wait(ctx context.Context, happened func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, captureTimeout, errors.New("the log was not captured"))
	defer cancel()
	for {
		if ok, err := happened(); ok || err != nil {
			return err
		}
		if err := p.capture.alive(); err != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// point is the transaction of the mistake, which the captured log has, and which is left out.
func (p *postgresStage) point(ctx context.Context) ([]string, error) {
	p.page.say("The captured log has every transaction. The mistake is the one that made so much log:")
	var rows []logRow
	at := -1
	err := p.wait(ctx, func() (_ bool, err error) {
		if rows, err = p.logged(ctx); err != nil {
			return false, err
		}
		at = slices.IndexFunc(rows, func(r logRow) bool { return r.Event == string(snapshot.Commit) && r.XID == p.after.Number })
		return at >= 0 && at+around < len(rows), nil
	})
	if err != nil {
		return nil, err
	}
	since, until := rows[max(0, at-around)].Time, rows[at+around].Time
	if _, err := p.lifeboat(ctx, "log", "show", "crm", "--since", since.Format(logTime), "--until", until.Format(logTime)); err != nil {
		return nil, err
	}
	if err := p.logCost(ctx); err != nil {
		return nil, err
	}
	p.page.say("Transaction %s is left out, and all that came behind it. The database in use stays as it is.", p.after.Number)
	return []string{"--at", "xid:" + p.after.Number, "--before"}, nil
}

// logged asks the program for the transactions about the mistake, as a script would.
func (p *postgresStage) logged(ctx context.Context) (rows []logRow, err error) {
	var out bytes.Buffer
	if code := p.program(&out).run(ctx, []string{"log", "show", "crm", "--json", "--since", p.after.At.Add(-time.Second).UTC().Format(logTime)}); code != exitDone {
		return nil, fmt.Errorf("`lifeboat log show --json` ended with exit code %d", code)
	}
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		return nil, fmt.Errorf("read the list of transactions: %w", err)
	}
	return slices.DeleteFunc(rows, func(r logRow) bool { return r.Time == nil }), nil
}

// logCost notes what capturing the log has cost so far.
func (p *postgresStage) logCost(ctx context.Context) error {
	text, err := p.query(ctx, "SELECT pg_current_wal_flush_lsn() - '"+p.from+"'::pg_lsn")
	if err != nil {
		return err
	}
	read, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("read how much log there is: %w", err)
	}
	written, err := bytesBelow(filepath.Join("copies", "disk", logFolder))
	if err != nil {
		return err
	}
	p.costs = append(p.costs, cost{step: "log, so far", read: bytesText(read), written: fmt.Sprintf("%d x %s", len(demoCopies), bytesText(written)), took: p.now().Sub(p.since)})
	return nil
}

// inspect connects to the server that the restore started.
func (p *postgresStage) inspect(context.Context) (*sql.DB, string, error) {
	db, err := crm.OpenPostgres("postgres://postgres@/crm?host=" + url.QueryEscape(filepath.Join(p.dir, restored)))
	return db, "replayed the log up to there, and runs beside the one in use", err
}
