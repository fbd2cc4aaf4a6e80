package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

// tornPause is how long a change of the wal-index header is given before it is read again.
const tornPause = 100 * time.Microsecond

// openWAL pins the newest commit of a database in WAL mode and finds out how to read it: from the files where the
// pinned frame is known for certain, else through the pager.
func openWAL(ctx context.Context, ses *session, attempts int) (*view, error) {
	v, err := openFiles(ctx, ses, attempts)
	if err == nil || !errors.Is(err, errLog) {
		return v, err
	}
	why := err
	if v, err = viewPager(ctx, ses); err != nil {
		return nil, err
	}
	v.why = why
	return v, nil
}

// openFiles pins a state and prepares to read it from the files. Errors wrap errLog where only the pager can read it; if
// a transaction is left open then, it is a good one.
func openFiles(ctx context.Context, ses *session, attempts int) (*view, error) {
	shm, err := sharedMemory(ses)
	if err != nil {
		return nil, err
	}
	p, tries, err := pin(ctx, ses, shm, attempts)
	if err != nil {
		return nil, err
	}
	v, err := viewFiles(ctx, ses, shm, p)
	if err != nil {
		return nil, err
	}
	v.tries = tries
	return v, nil
}

// sharedMemory opens the wal-index. Where this user may not write it, SQLite keeps an index of its own while no writer
// is there, and the file means nothing: the error wraps errLog.
func sharedMemory(ses *session) (*os.File, error) {
	path := ses.path + "-shm"
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK, unix.AT_EACCESS); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errLog, path, err)
	}
	return descriptors.open(ses.files, path)
}

// pin begins a read transaction whose state is known: the wal-index header is the same before and after, so it is the
// one that SQLite took in between. The transaction pins that state: no checkpoint goes past it, and the log is not begun
// anew unless the database file alone is the state. When commits kept coming in between every time, the error wraps
// errLog.
func pin(ctx context.Context, ses *session, shm io.ReaderAt, attempts int) (p *pinned, tries int, err error) {
	for tries = 1; tries <= attempts; tries++ {
		if err := ctx.Err(); err != nil {
			return nil, tries, err
		}
		before, ok, err := readIndex(shm)
		if err != nil {
			return nil, tries, err
		}
		if !ok { // the writer is in the middle of a change, and may have been put to sleep there
			time.Sleep(tornPause)
			continue
		}
		if err := ses.start(); err != nil {
			return nil, tries, err
		}
		// In this order: a log that begins anew changes its header first and then sets the count to 0. Were a count of
		// the new log taken for the old one's, the header read after it would differ.
		copied, err := readCount(shm, offBackfill)
		if err != nil {
			return nil, tries, err
		}
		after, ok, err := readIndex(shm)
		if err != nil {
			return nil, tries, err
		}
		if ok && after.raw == before.raw {
			return &pinned{index: after, inFile: copied >= after.frames}, tries, nil
		}
		if err := ses.stop(); err != nil {
			return nil, tries, err
		}
	}
	return nil, tries, fmt.Errorf("%w: commits came in between %d times", errLog, attempts)
}

// viewFiles reads a pinned state from the files. Errors wrap errLog where the log is not what the index says.
func viewFiles(ctx context.Context, ses *session, shm io.ReaderAt, p *pinned) (*view, error) {
	h, err := readHeader(ses.files.db)
	if err != nil {
		return nil, err
	}
	if p.pageSize != 0 && p.pageSize != h.pageSize {
		return nil, fmt.Errorf("%w: pages of %d bytes, and %d in the database header", errLog, p.pageSize, h.pageSize)
	}
	if p.pages == 0 { // nothing was committed since the log was created
		info, err := ses.files.db.Stat()
		if err != nil {
			return nil, err
		}
		if p.pages, err = h.count(info.Size()); err != nil {
			return nil, err
		}
	}
	v := &view{ses: ses, pageSize: h.pageSize, pages: p.pages, how: "files",
		pos: snapshot.Pos{Line: p.salt(), Offset: uint64(p.frames)}}
	var frames *log
	var overlay []frameRef
	if !p.inFile {
		wal, err := descriptors.open(ses.files, ses.path+"-wal")
		if err != nil {
			return nil, err
		}
		frames = &log{file: wal, pageSize: h.pageSize, salts: p.salts}
		if overlay, err = frames.newest(ctx, &p.index); err != nil {
			return nil, err
		}
	}
	v.body = func(ctx context.Context) io.Reader {
		return &pageReader{ctx: ctx, file: ses.files.db, pageSize: h.pageSize, pages: p.pages, next: 1,
			log: frames, overlay: overlay, last: func() error { return p.held(shm) }}
	}
	return v, nil
}
