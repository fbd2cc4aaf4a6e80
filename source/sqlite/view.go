package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"

	"lifeboat/snapshot"
	"lifeboat/verify"
)

// view is one pinned state. Whatever way its pages are read, it keeps its session until Close.
type view struct {
	ses      *session
	pageSize int
	pages    uint32
	pos      snapshot.Pos
	body     func(context.Context) io.Reader // the whole state from its first byte, anew at each call
	release  func() error                    // what the body needs besides the session; may be nil
	how      string                          // "files", "pager" or "copy"
	why      error                           // why it is the pager, nil otherwise
	tries    int                             // attempts at pinning, for tests and measurements
	canary   *verify.Canary
	findings []snapshot.Finding
	closed   bool
}

var _ snapshot.View = (*view)(nil)

// Items yields the database. It may be called again, one sequence at a time.
func (v *view) Items(ctx context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		if v.closed {
			yield(snapshot.Item{}, describe("read", v.ses.path, ErrClosed))
			return
		}
		yield(snapshot.Item{
			Name:     itemName(v.ses.path),
			Kind:     snapshot.Pages,
			PageSize: v.pageSize,
			Size:     v.Size(),
			Mode:     v.ses.info.Mode() & fs.ModePerm,
			ModTime:  v.ses.info.ModTime(),
			Body:     &body{view: v, from: v.body(ctx), left: v.Size()},
		}, nil)
	}
}

// Summary implements snapshot.View. The position is, in WAL mode, the salts of the log and the last frame, in the other modes the
// file change counter; zero where SQLite would not tell which frame is pinned.
func (v *view) Summary() (snapshot.Summary, error) {
	s := snapshot.Summary{From: v.pos, To: v.pos, Findings: v.findings}
	if v.canary == nil {
		return s, nil
	}
	var err error
	s.Manifest, err = json.Marshal(Manifest{Canary: v.canary})
	return s, err
}

// Size is the size of the database in bytes.
func (v *view) Size() int64 { return int64(v.pages) * int64(v.pageSize) }

// Close lets writers and checkpoints go on. Closing twice is no error.
func (v *view) Close() error {
	if v.closed {
		return nil
	}
	v.closed = true
	err := v.ses.close()
	if v.release != nil {
		err = errors.Join(err, v.release())
	}
	if err != nil {
		return describe("end snapshot of", v.ses.path, err)
	}
	return nil
}

// body gives errors their context, and knows that a body which ends early is no body.
type body struct {
	view *view
	from io.Reader
	left int64
	err  error // what ended the body
}

func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.view.closed:
		b.err = describe("read", b.view.ses.path, ErrClosed)
		return 0, b.err
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && b.left != 0:
		b.err = describe("read", b.view.ses.path, corrupt("%d bytes are missing or too many", b.left))
	case errors.Is(err, io.EOF):
		b.err = io.EOF
	case err != nil:
		b.err = describe("read", b.view.ses.path, err)
	}
	return n, b.err
}
