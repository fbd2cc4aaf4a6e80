package snapshot

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"time"
)

// Source takes consistent views of one live database (or file tree). It is used by one goroutine at a time.
type Source interface {
	// Open pins a consistent view. since is the position of the newest committed snapshot of this source, or zero;
	// an engine may use it to send less, never to send something else.
	Open(ctx context.Context, since Pos) (View, error)
}

// View is one consistent state of a source. It stays consistent, whatever writers do, until Close.
type View interface {
	// Items yields every file of the view once, in any order: the same order each time is quickest. An item's Body must be
	// read to its end before the next item is asked for. The first error ends the sequence and condemns the view.
	Items(ctx context.Context) iter.Seq2[Item, error]
	// Range is the log range that the view needs to be consistent: equal ends for an engine without a log. It is
	// final only after Items is exhausted.
	Range() (from, to Pos)
	// Manifest is what the engine must know to put the view back, a JSON object; nil for nothing. It is final only after
	// Items is exhausted.
	Manifest() ([]byte, error)
	// Size estimates the bytes that Items will yield, for progress; 0 means unknown.
	Size() int64
	Close() error
}

// Kind says how an item's bytes are cut into chunks.
type Kind string

// The kinds of items.
const (
	Pages  Kind = "pages"  // fixed-size pages, compared page by page
	Stream Kind = "stream" // anything else, cut by content
	Dir    Kind = "dir"    // a directory that must be there even if it is empty; no content
)

// Item is one file of a view.
type Item struct {
	Name     string // slash-separated, relative, unique in its view
	Kind     Kind
	PageSize int   // bytes, for Pages
	Size     int64 // bytes; exact for Pages, -1 where a Stream does not know
	Mode     fs.FileMode
	ModTime  time.Time
	Body     io.Reader // the content from first byte to last
}
