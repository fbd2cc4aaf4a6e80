package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"lifeboat/internal/cell"
	"lifeboat/internal/phrase"
	"lifeboat/verify"
)

var _ verify.Baseliner = (*Restored)(nil)

// Baseline implements verify.Baseliner: what the snapshot's file says, and what the log that was replayed says of it. Tables that were dropped or renamed
// since, by that log, are listed as what there was, without their rows.
func (d *Restored) Baseline(ctx context.Context, _ verify.Reached) (*verify.Baseline, error) {
	b, err := d.counted()
	if err != nil || b == nil {
		return nil, err
	}
	out := &verify.Baseline{Taken: b.Taken, Rows: map[string]int64{}, Exact: map[string]bool{}}
	d.mu.Lock()
	now, class, err := d.files(ctx, b.Database)
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	log, err := d.touched(ctx, b)
	if errors.Is(err, verify.ErrUnavailable) {
		out.Why = err.Error()
	} else if err != nil {
		return nil, err
	}
	changed, gone := 0, 0
	for _, t := range b.Tables {
		at, there := now[t.OID]
		out.Tables = append(out.Tables, t.Name)
		if there && at.name != t.Name || !there && (log == nil || log.deleted[class]) {
			gone++
			continue
		}
		if t.Rows == nil {
			continue
		}
		out.Rows[t.Name] = *t.Rows
		if out.Exact[t.Name] = log != nil && there && !log.changed(t.Files, at.files); log != nil && !out.Exact[t.Name] {
			changed++
		}
	}
	if changed+gone > 0 {
		out.Why = strings.TrimPrefix(out.Why+"; "+phrase.SinceCounted.Say(changed, gone), "; ")
	}
	return out, nil
}

// counted reads the file of the snapshot; nil where it has none.
func (d *Restored) counted() (*Baseline, error) {
	root, err := os.OpenRoot(d.server.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(baselineFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBaseline+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBaseline {
		return nil, fmt.Errorf("read what was counted: it has more than %d bytes", maxBaseline)
	}
	return ParseBaseline(b)
}

// standing is where a table of the restored cluster is.
type standing struct {
	name  string
	files []string
}

// files are the tables of a database by OID, and the file of the catalog that lists them; with d.mu held.
func (d *Restored) files(ctx context.Context, database string) (out map[string]standing, class string, err error) {
	out = map[string]standing{}
	err = d.in(ctx, database, func(c *conn) error {
		rows, err := c.ask(ctx, fmt.Sprintf(countables, maxCounted))
		if err != nil {
			return err
		}
		for _, r := range rows {
			out[r[0]] = standing{qualified(database, r[1], r[2]), strings.Fields(r[3])}
		}
		rows, err = c.ask(ctx, "SELECT d.dattablespace || '/' || d.oid || '/' || pg_relation_filenode('pg_class') FROM pg_database d WHERE datname = current_database()")
		if err == nil {
			class = rows[0][0]
		}
		return err
	})
	return out, class, err
}

// references are the files that a stretch of log refers to, but for what changes no row: of those from which rows were deleted too.
type references struct{ touched, deleted map[string]bool }

// changed reports whether a table may have changed whose files were before and are now.
func (r *references) changed(before, now []string) bool {
	if strings.Join(before, " ") != strings.Join(now, " ") {
		return true
	}
	for _, f := range now {
		if r.touched[f] {
			return true
		}
	}
	return false
}

// touched reads the log from where what was counted may be old to where the cluster left it. Errors wrap verify.ErrUnavailable where nothing can be proven.
func (d *Restored) touched(ctx context.Context, b *Baseline) (*references, error) {
	at, err := parseLSN(b.Before)
	if err != nil {
		return nil, err
	}
	switch {
	case !b.Quiet:
		return nil, fmt.Errorf("%w: %s", verify.ErrUnavailable, phrase.NotQuiet.Say())
	case at > d.left:
		return nil, fmt.Errorf("%w: %s", verify.ErrUnavailable, phrase.CountedLater.Say(at, d.left))
	}
	out, line := &references{map[string]bool{}, map[string]bool{}}, uint64(b.Timeline)
	for _, branch := range d.lab.Replay.Branches {
		if branch.At.Line > line {
			if err := d.dump(ctx, out, line, at, lsn(branch.At.Offset)); err != nil {
				return nil, err
			}
			line, at = branch.At.Line, lsn(branch.At.Offset)
		}
	}
	if line != d.lab.Replay.End.Line {
		return nil, fmt.Errorf("%w: %s", verify.ErrUnavailable, phrase.NoLogLeads.Say(b.Timeline, d.lab.Replay.End.Line))
	}
	if err := d.dump(ctx, out, line, at, d.left); err != nil {
		return nil, err // what a part of the log does not refer to may have changed
	}
	return out, nil
}

// dump lets pg_waldump read a stretch of one timeline.
func (d *Restored) dump(ctx context.Context, into *references, line uint64, from, to lsn) error {
	if from >= to {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(d.lab.Bin, "pg_waldump"), "-p", filepath.Join(d.server.Dir, "pg_wal"), "-t", strconv.FormatUint(line, 10), "-s", from.String(), "-e", to.String())
	cmd.Dir, cmd.Env, cmd.SysProcAttr = d.server.Dir, cell.Environment(), cell.As((*cell.User)(d.lab.Owner)) // without this process it ends when nobody reads what it writes
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("%w: which tables did not change: %w", verify.ErrUnavailable, err)
	}
	rerr := into.read(out)
	if rerr != nil {
		cancel()
	}
	if werr := cmd.Wait(); rerr == nil && werr != nil {
		rerr = fmt.Errorf("%w: %s", werr, strings.TrimSpace(said.String()))
	}
	if cause := context.Cause(ctx); rerr != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if rerr != nil {
		return fmt.Errorf("%w: which tables did not change from %s to %s of timeline %d: %w", verify.ErrUnavailable, from, to, line, rerr)
	}
	return nil
}

var (
	recordLine = regexp.MustCompile(`^rmgr: (\S+) +len \(rec/tot\): .*?, desc: (\S+)`)
	blockOf    = regexp.MustCompile(`blkref #\d+: rel (\d+/\d+/\d+) `)
	// rowless are records that change how rows are stored, locked or known to be old, and no row.
	rowless = regexp.MustCompile(`^(XLOG FPI_FOR_HINT|Heap LOCK|Heap2 (CLEAN|VACUUM|VISIBLE|FREEZE_PAGE|PRUNE\S*|LOCK_UPDATED))$`)
)

// read notes what a dump refers to.
func (r *references) read(dump io.Reader) error {
	const longest = 64 << 20 // bytes of a record in words
	lines := bufio.NewScanner(dump)
	lines.Buffer(make([]byte, 1<<16), longest)
	for lines.Scan() {
		m := recordLine.FindSubmatch(lines.Bytes())
		kind := ""
		if m != nil {
			kind = string(m[1]) + " " + strings.TrimSuffix(string(m[2]), ":")
		}
		if rowless.MatchString(kind) {
			continue
		}
		for _, b := range blockOf.FindAllSubmatch(lines.Bytes(), -1) {
			r.touched[string(b[1])] = true
			if kind == "Heap DELETE" {
				r.deleted[string(b[1])] = true
			}
		}
	}
	return lines.Err()
}
