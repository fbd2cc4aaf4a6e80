package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"lifeboat/chunkstore"
	"lifeboat/target"
)

// spoolSize bounds the bytes that wait for other copies while a snapshot is taken, and waiting how many objects.
const (
	spoolSize = 1 << 30
	waiting   = 1024
)

// relay is the first copy of a snapshot that is being taken, which the writer waits for, and a pipe to each other copy, which nobody waits for: what
// is put goes to all of them at once. A pipe has its share of the spool; beyond that it reads back from the first copy what it was too slow for.
type relay struct {
	*watched // the first copy
	dir      string
	pipes    []*pipe
	wait     sync.WaitGroup
}

// watched is the copy that must take everything. It notes that it is why something failed.
type watched struct {
	target.Target
	lost atomic.Bool
}

// errVanished is wrapped where a target acknowledged what does not stand there.
var errVanished = errors.New("the target said that it stands, and it does not: its store loses data")

// Put implements target.Target. It looks whether the object stands: what is committed relies on it.
func (w *watched) Put(ctx context.Context, name string, body *io.SectionReader) error {
	err := w.Target.Put(ctx, name, body)
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	stands := false
	if err == nil {
		stands, err = target.Has(ctx, w.Target, target.Object{Name: name, Size: body.Size()})
	}
	if err == nil && !stands {
		err = fmt.Errorf("put %s: %w", name, errVanished)
	}
	if err != nil && ctx.Err() == nil {
		w.lost.Store(true)
	}
	return err
}

// parcel is an object on its way to one copy.
type parcel struct {
	target.Object
	body *spooled // nil: it is read back from the first copy
}

// spooled is an object in a file without a name, which goes with its last user.
type spooled struct {
	*os.File
	users atomic.Int32
}

func (s *spooled) release() {
	if s.users.Add(-1) == 0 {
		_ = s.Close() // there is nothing in it that anybody wants
	}
}

// pipe stores on one copy what the first one gets.
type pipe struct {
	to     *Copy
	queue  chan parcel
	room   int64        // its share of the spool
	held   atomic.Int64 // of that
	told   *tally
	failed atomic.Bool // it goes on when the record stands
}

// relay begins pipes to all other copies, until stop is called, which waits for what is on its way unless ctx is done.
func (h *Host) relay(ctx context.Context, first *Copy) (r *relay, stop func()) {
	r = &relay{watched: &watched{Target: first.Target}, dir: h.StateDir}
	for _, c := range h.Copies {
		if c.Err == nil && c != first {
			r.pipes = append(r.pipes, &pipe{to: c, queue: make(chan parcel, waiting), told: h.tally(c.Name)})
		}
	}
	room := roomIn(h.StateDir)
	for _, p := range r.pipes {
		p.room = room / int64(len(r.pipes))
		for range transfers {
			r.wait.Go(func() { r.run(ctx, p) })
		}
	}
	return r, sync.OnceFunc(func() {
		for _, p := range r.pipes {
			close(p.queue)
		}
		r.wait.Wait()
	})
}

// roomIn is how large the spool may be in dir: half of what is free there at most, since the snapshot needs some of it, too.
func roomIn(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(min(spoolSize, uint64(st.Bavail)*uint64(st.Bsize)/2))
}

// Put implements target.Target.
func (r *relay) Put(ctx context.Context, name string, body *io.SectionReader) error {
	o := target.Object{Name: name, Size: body.Size()}
	late := r.spool(o, body)
	if err := r.watched.Put(ctx, name, body); err != nil {
		return err
	}
	for _, p := range late {
		p.offer(parcel{Object: o})
	}
	return nil
}

// spool offers an object to all pipes that have room for it, and returns the others.
func (r *relay) spool(o target.Object, body *io.SectionReader) (late []*pipe) {
	var near []*pipe
	for _, p := range r.pipes {
		if p.held.Load()+o.Size <= p.room {
			near = append(near, p)
		} else {
			late = append(late, p)
		}
	}
	if len(near) == 0 {
		return late
	}
	f, err := nameless(r.dir)
	if err != nil {
		return r.pipes // the spool is the short way, not the only one
	}
	s := &spooled{File: f}
	s.users.Store(int32(len(near)) + 1)
	defer s.release()
	if _, err := io.Copy(f, io.NewSectionReader(body, 0, o.Size)); err != nil {
		_ = f.Close() // nobody gets it
		return r.pipes
	}
	for _, p := range near {
		p.held.Add(o.Size)
		p.offer(parcel{o, s})
	}
	return late
}

// offer queues a parcel. A copy that is too slow for that gets the object with the record.
func (p *pipe) offer(o parcel) {
	p.told.more(o.Size)
	select {
	case p.queue <- o:
	default:
		p.let(o)
	}
}

// let gives up the parcel's part of the spool.
func (p *pipe) let(o parcel) {
	if o.body != nil {
		p.held.Add(-o.Size)
		o.body.release()
	}
}

func (r *relay) run(ctx context.Context, p *pipe) {
	for o := range p.queue {
		if !p.failed.Load() {
			if err := r.send(ctx, p.to, o); err != nil {
				p.failed.Store(true)
			} else {
				p.told.stored(o.Size)
			}
		}
		p.let(o)
	}
}

func (r *relay) send(ctx context.Context, to *Copy, o parcel) error {
	if o.body == nil {
		return copyObject(ctx, r.dir, r.Target, to.Target, o.Object)
	}
	body := io.NewSectionReader(o.body, 0, o.Size)
	if v, ok := to.Target.(target.Verifier); ok {
		sum, err := chunkstore.Sum(o.Name)
		if err == nil {
			err = v.PutVerified(ctx, o.Name, body, sum)
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := authentic(o.Object, io.NewSectionReader(o.body, 0, o.Size), io.Discard); err != nil {
		return err
	}
	return deposit(ctx, to.Target, o.Name, body)
}

// tally tells how far a copy is that follows.
type tally struct {
	tell        func(done, total int64)
	mu          sync.Mutex
	done, total int64
}

// tally is one per copy, so that what it tells only grows.
func (h *Host) tally(name string) *tally {
	h.telling.Lock()
	defer h.telling.Unlock()
	if h.tallies == nil {
		h.tallies = map[string]*tally{}
	}
	if h.tallies[name] == nil {
		h.tallies[name] = &tally{tell: func(done, total int64) {
			if h.Progress != nil {
				h.Progress(name, done, total)
			}
		}}
	}
	return h.tallies[name]
}

// more says that bytes are to come, and stored that they stand.
func (t *tally) more(bytes int64) { t.add(0, bytes) }

func (t *tally) stored(bytes int64) { t.add(bytes, 0) }

func (t *tally) add(done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.total = t.done+done, t.total+total
	t.tell(t.done, t.total)
}
