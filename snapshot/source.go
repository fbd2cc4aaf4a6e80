package snapshot

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"time"
)

// Source takes consistent views of one live database (or file tree). It is used by one goroutine at a time.
type Source interface {
	// Open pins a consistent view. prior is nil before the first snapshot; an engine may use it to send less, never to send
	// something else.
	Open(ctx context.Context, prior *Prior) (View, error)
}

// ErrOther is wrapped where a source is not the one that the prior snapshot, or the log, is of.
var ErrOther = errors.New("another database answers here, or an older state of it")

// Prior is the newest committed snapshot of a source.
type Prior struct {
	Log      LogEnd // of what was captured behind it without a gap; or where it ends itself
	Manifest []byte
	// Files lists what it holds; nil where the next view must leave nothing out.
	Files iter.Seq2[File, error]
	// Anew says that it is not to be gone on from: another database may stand there now.
	Anew bool
}

// View is one consistent state of a source. It stays consistent, whatever writers do, until Close.
type View interface {
	// Items yields every file of the view once, in any order: the same order each time is quickest. An item's Body must be
	// read to its end, or not at all where State says that the prior snapshot has it, before the next item is asked for. The
	// first error ends the sequence and condemns the view.
	Items(ctx context.Context) iter.Seq2[Item, error]
	// Summary may be asked for when Items is exhausted.
	Summary() (Summary, error)
	// Size estimates the bytes that Items will yield, for progress; 0 means unknown.
	Size() int64
	Close() error
}

// Sorted is a View whose items come in ascending order of name, so that what is known of them need not be gathered.
type Sorted interface {
	View
	Sorted()
}

// ErrVoid is wrapped by the error of a Body that turns out not to be worth keeping: the snapshot goes on without the item, which the
// view may yield once more.
var ErrVoid = errors.New("the item does not count")

// Summary is what a view says of itself as a whole.
type Summary struct {
	// From and To are the log that the view needs to be consistent: equal ends for an engine without a log.
	From, To Pos
	// System is what Log.System says; empty for an engine without a log.
	System string
	// Manifest is what the engine must know to put the view back, a JSON object; nil for nothing.
	Manifest []byte
	// Findings are what the source noticed: with Fail, of content that is damaged and in the view as it is.
	Findings []Finding
	// Anew says that no log leads from the prior snapshot to this one.
	Anew bool
}

// Kind says how an item's bytes are cut into chunks.
type Kind string

// The kinds of items.
const (
	Pages  Kind = "pages"  // fixed-size pages, compared page by page
	Stream Kind = "stream" // anything else, cut by content
	Dir    Kind = "dir"    // a directory that must be there even if it is empty; no content
	Link   Kind = "link"   // a symbolic link; no content
)

// Item is one file of a view.
type Item struct {
	Name     string // slash-separated, relative, unique in its view
	Kind     Kind
	PageSize int   // bytes, for Pages
	Size     int64 // bytes; exact for Pages, -1 where a Stream does not know
	Mode     fs.FileMode
	ModTime  time.Time
	Link     string    // what a Link leads to
	Owner    *Owner    // nil where the source does not say
	Body     io.Reader // the content from first byte to last, or of Delta's pages
	Delta    *Delta    // nil: Body has the whole content
	// State stands for the content of a Stream: while it, Size and ModTime are as in the prior snapshot, Body need not be
	// read. Empty: nobody knows.
	State string
}

// Owner is a user and a group, as numbers.
type Owner struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// Delta is a file of pages as it differs from the prior snapshot's file of the same name.
type Delta struct {
	Keep  int64   // pages of the prior file that may stand, from its beginning
	Pages []int64 // those that Body has instead, ascending; what is neither kept nor here is zero
}
