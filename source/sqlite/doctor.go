package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/dustin/go-humanize"

	"lifeboat/snapshot"
)

// walLarge is when a log has outgrown any checkpointing that works: the default is one each 4 MiB.
const walLarge = 128 << 20

// Doctor runs every preflight of the database, and changes nothing. It stops early where the rest cannot be looked at,
// and never fails itself.
func (s *Source) Doctor(ctx context.Context) []snapshot.Finding {
	d := doctor{source: s}
	d.run(ctx)
	return d.found
}

type doctor struct {
	source *Source
	found  []snapshot.Finding
}

func (d *doctor) add(name string, level snapshot.Level, detail, fix string) {
	d.found = append(d.found, snapshot.Finding{Name: name, Level: level, Detail: detail, Fix: fix})
}

// failed adds err as a finding, with its hint as the fix.
func (d *doctor) failed(name string, err error) {
	var e *Error
	if errors.As(describe("examine", d.source.path, err), &e) {
		d.add(name, snapshot.Fail, e.Err.Error(), e.Hint)
	}
}

func (d *doctor) run(ctx context.Context) {
	path, info, err := resolve(d.source.path)
	if err != nil {
		d.failed("file", err)
		return
	}
	d.add("file", snapshot.OK, fmt.Sprintf("%s, mode %v", path, info.Mode().Perm()), "")
	ses, err := openSession(ctx, path)
	if err != nil {
		d.failed("open", err)
		return
	}
	defer func() {
		if err := ses.close(); err != nil {
			d.failed("close", err)
		}
	}()
	h, err := readHeader(ses.files.db)
	if err != nil {
		d.failed("header", err)
		return
	}
	d.add("header", snapshot.OK, fmt.Sprintf("page size %d bytes, file %s", h.pageSize, size(info.Size())), "")
	wal, err := ses.probe(ctx)
	if err != nil {
		d.failed("schema", err)
		return
	}
	d.add("schema", snapshot.OK, "readable", "")
	if d.source.opts.Canary != "" {
		d.canary(ses, wal)
	}
	if wal {
		d.add("journal mode", snapshot.OK, "WAL: snapshots never block writers", "")
		d.sideFiles(path, info)
		return
	}
	d.add("journal mode", snapshot.Warn, "rollback journal: each snapshot needs a temporary copy and delays writers",
		"PRAGMA journal_mode=WAL;")
	d.tempSpace(info.Size())
}

// canary looks whether a canary could be written.
func (d *doctor) canary(ses *session, wal bool) {
	if err := mayWrite(ses, wal); err != nil {
		fix := fmt.Sprintf("run as root or as the owner of %s", ses.path)
		if e := (*Error)(nil); errors.As(describe("write to", ses.path, err), &e) && !errors.Is(err, fs.ErrPermission) {
			fix = e.Hint
		}
		d.add("canary", snapshot.Warn, "the policy accepts a canary, and none can be written: "+err.Error(), fix)
		return
	}
	d.add("canary", snapshot.OK, "can be written to the table lifeboat_canary", "")
}

// sideFiles looks whether the application can open the -wal and -shm, and whether checkpoints keep up.
func (d *doctor) sideFiles(path string, info fs.FileInfo) {
	for _, suffix := range []string{"-wal", "-shm"} {
		side, err := os.Stat(path + suffix)
		if err != nil {
			d.failed(suffix, err)
			continue
		}
		level, detail, fix := snapshot.OK, fmt.Sprintf("%s, mode %v", size(side.Size()), side.Mode().Perm()), ""
		owner, sideOwner := ownerOf(info), ownerOf(side)
		switch {
		case owner != sideOwner:
			level, detail = snapshot.Warn, fmt.Sprintf("owned by user %d, the database by user %d", sideOwner, owner)
			fix = fmt.Sprintf("chown --reference='%s' '%s%s'", path, path, suffix)
		case side.Mode().Perm() != info.Mode().Perm():
			level, detail = snapshot.Warn, fmt.Sprintf("mode %v, the database has %v", side.Mode().Perm(), info.Mode().Perm())
			fix = fmt.Sprintf("chmod --reference='%s' '%s%s'", path, path, suffix)
		case suffix == "-wal" && side.Size() > walLarge:
			level, fix = snapshot.Warn, "PRAGMA wal_checkpoint(TRUNCATE);"
			detail += ": checkpoints do not keep up, look for a reader that never ends its transaction"
		}
		d.add(suffix, level, detail, fix)
	}
}

func (d *doctor) tempSpace(need int64) {
	free, err := freeSpace(d.source.opts.TempDir)
	switch {
	case err != nil:
		d.failed("temporary space", err)
	case free < need:
		d.failed("temporary space", checkSpace(d.source.opts.TempDir, need))
	default:
		d.add("temporary space", snapshot.OK, fmt.Sprintf("%s free in %s, %s needed", size(free), d.source.opts.TempDir, size(need)), "")
	}
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// ownerOf is the file's user id, or -1 where the system has none.
func ownerOf(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Uid)
	}
	return -1
}
