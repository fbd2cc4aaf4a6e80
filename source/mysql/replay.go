package mysql

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"lifeboat/restore"
	"lifeboat/snapshot"
)

// replay lets the server do again what stands in the log, up to the point: everything goes through one run of mariadb-binlog and of the client.
// It returns the last of them; errors wrap ErrNotReached where one that should be there did not come.
func (c *runner) replay(ctx context.Context, m Manifest, r *restore.Replay) (last snapshot.LogEvent, err error) {
	stop := ^uint64(0)
	switch {
	case r.Stop != nil && r.Through:
		stop = r.Last.End
	case r.Stop != nil:
		stop = *r.Stop
	}
	if m.Header == nil {
		return last, hinted{fmt.Errorf("%w: this snapshot does not say how the log behind it is to be read", errBinlog), "restore the snapshot itself, with --at snapshot:ID, or to a point behind another one"}
	}
	f := &feeder{at: r.Snapshot.To.Offset, stop: stop, format: m.Header, begin: func() *replaying { return c.replaying(ctx) }}
	if err := f.groups.format(m.Header); err != nil {
		return last, err
	}
	err = f.all(ctx, r, stop)
	if err = errors.Join(f.close(), err); err == nil && r.Last != nil && (f.last.ID != r.Last.ID || f.last.End != r.Last.End) {
		err = fmt.Errorf("%w: %s, which ends at %s, and ends with %s", ErrNotReached, r.Last.ID, snapshot.FormatBinlog(r.Last.End), f.last.ID)
	}
	return f.last, err
}

// ErrNotReached is wrapped where a restored server does not come to the transaction that it should.
var ErrNotReached = errors.New("the log that was read does not hold the transaction")

// all takes in the log of a way, up to an offset.
func (f *feeder) all(ctx context.Context, r *restore.Replay, stop uint64) error {
	way := r.Branches
	f.line = r.Snapshot.To.Line
	for _, o := range r.Log {
		if o.From.Line != f.line { // the log of another server, which took over
			if len(way) == 0 || way[0].At.Line != o.From.Line || f.at != way[0].Parent.Offset {
				return fmt.Errorf("%w: nothing leads to %s", errBinlog, o.Name)
			}
			if err := f.turn(way[0]); err != nil {
				return err
			}
			f.line, way = o.From.Line, way[1:]
		}
		if f.stop = stop; len(way) > 0 {
			f.stop = way[0].Parent.Offset
		}
		f.next = o.From.Offset
		if err := r.Reader.Log(ctx, o, f); err != nil {
			return err
		}
		if len(f.rest) > 0 && !f.done {
			return fmt.Errorf("%w: %s ends within an event", errBinlog, o.Name)
		}
		if _, pos := snapshot.SplitBinlog(o.To.Offset); pos == 0 && f.at < o.To.Offset {
			f.at = o.To.Offset // the end of a file
		}
	}
	return nil
}

// feeder takes the log in, cut anywhere, and hands whole events on up to the point.
type feeder struct {
	at     uint64 // offset of the next event
	stop   uint64 // of the first that is left out
	next   uint64 // of the next byte that is written
	rest   []byte // of an event that is not whole yet
	done   bool
	groups groups
	line   uint64            // of the log
	last   snapshot.LogEvent // that was handed on whole
	format []byte            // that of the file at hand
	run    *replaying
	begin  func() *replaying
}

// Write implements io.Writer.
func (f *feeder) Write(b []byte) (int, error) {
	n := len(b)
	if have := f.at + uint64(len(f.rest)); f.next < have { // it stood in the object before
		b = b[min(uint64(len(b)), have-f.next):]
	} else if f.next > have && !f.done {
		return 0, fmt.Errorf("%w: nothing stands between %s and %s", errBinlog, snapshot.FormatBinlog(have), snapshot.FormatBinlog(f.next))
	}
	f.next += uint64(n)
	if len(f.rest) > 0 {
		f.rest = append(f.rest, b...)
		b = f.rest
	}
	for !f.done {
		if _, pos := snapshot.SplitBinlog(f.at); pos == 0 && len(b) >= len(binlogMagic) {
			if !bytes.HasPrefix(b, []byte(binlogMagic)) {
				return 0, fmt.Errorf("%w: no file begins at %s", errBinlog, snapshot.FormatBinlog(f.at))
			}
			b = b[len(binlogMagic):]
			f.at += uint64(len(binlogMagic))
		}
		if len(b) < headSize {
			break
		}
		h, err := readHeader(b)
		if err != nil {
			return 0, err
		}
		if len(b) < h.size {
			break
		}
		if f.at+uint64(h.size) > f.stop || f.at >= f.stop {
			f.done = true
			break
		}
		if err := f.event(h, b[:h.size]); err != nil {
			return 0, err
		}
		b = b[h.size:]
		f.at += uint64(h.size)
	}
	f.rest = append(f.rest[:0], b...)
	return n, nil
}

// event hands an event on. Where a file begins within a transaction the server had died, and what came of that transaction is undone by the end of the run.
func (f *feeder) event(h header, b []byte) error {
	broken := h.kind == formatEvent && f.groups.open
	e, ended, err := f.groups.event(h, b, f.at, f.at+uint64(h.size))
	if err != nil {
		return err
	}
	if ended {
		f.last = e
	}
	if h.kind == formatEvent {
		f.format = bytes.Clone(b)
	}
	if h.kind == gtidListEvent { // mariadb-binlog would miss what comes before the snapshot
		return nil
	}
	if broken {
		if err := f.close(); err != nil {
			return err
		}
	}
	if f.run == nil {
		f.run = f.begin()
		if err := f.run.write([]byte(binlogMagic)); err != nil {
			return err
		}
		if h.kind != formatEvent {
			if err := f.run.write(f.format); err != nil {
				return err
			}
		}
	}
	return f.run.write(b)
}

// turn goes on in the log of another server.
func (f *feeder) turn(b restore.Branch) error {
	if err := f.close(); err != nil {
		return err
	}
	format, err := base64.StdEncoding.DecodeString(b.Text)
	if err != nil {
		return fmt.Errorf("%w: the format description of line %d: %w", errBinlog, b.At.Line, err)
	}
	f.at, f.rest, f.done, f.format, f.groups = b.At.Offset, nil, false, format, groups{}
	return f.groups.format(format)
}

// close waits until all that was handed on is done.
func (f *feeder) close() error {
	if f.run == nil {
		return nil
	}
	run := f.run
	f.run = nil
	return run.close()
}

// replaying is a run of mariadb-binlog whose SQL a client runs.
type replaying struct {
	in    io.WriteCloser
	said  tail
	ended chan error
	err   error // why it could not begin, or not go on
}

func (c *runner) replaying(ctx context.Context) *replaying {
	r := &replaying{ended: make(chan error, 1)}
	read, write, err := os.Pipe()
	if err != nil {
		r.err = err
		return r
	}
	defer write.Close()
	widen(write)
	cmd := exec.CommandContext(ctx, c.binlog, "--no-defaults", "--verify-binlog-checksum", "--skip-gtid-strict-mode", "--local-load="+c.dir, "-")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, c.environment(), write, &r.said
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = dying(c.owner)
	if r.in, r.err = cmd.StdinPipe(); r.err == nil {
		r.err = cmd.Start()
	}
	if r.err != nil {
		r.err = errors.Join(r.err, read.Close())
		return r
	}
	go func() {
		err := c.run(ctx, read)
		err = errors.Join(err, read.Close()) // the other one is told, if it still runs
		if how := cmd.Wait(); err == nil && how != nil {
			err = fmt.Errorf("%s: %w: %s", filepath.Base(c.binlog), how, r.said.reason())
		}
		r.ended <- err
	}()
	return r
}

func (r *replaying) write(b []byte) error {
	if r.err == nil {
		_, r.err = r.in.Write(b)
	}
	return r.err
}

// close waits for the end. Why it ended early is more than that it did not take what was written.
func (r *replaying) close() error {
	if r.in == nil {
		return r.err
	}
	err := r.in.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if how := <-r.ended; how != nil {
		return fmt.Errorf("replay the log: %w", how)
	}
	return errors.Join(err, r.err)
}
