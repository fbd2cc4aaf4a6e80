package chunkstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"lifeboat/crypto"
	"lifeboat/target"
)

// frameTarget is the size at which a frame is closed, in bytes before compression: large enough for the compressor, small
// enough that a restore that needs a part of it does not read much for nothing.
const frameTarget = 1 << 20

// Writer turns chunks into packs on a target: chunks are copied into the open frame of their class, full frames are
// compressed and sealed on all cores, and packs are stored while the next one fills. Add is for one goroutine.
type Writer struct {
	target target.Target
	group  *errgroup.Group
	ctx    context.Context
	cancel context.CancelFunc
	run    crypto.ID // 12 random bytes, then the counter of frames
	next   uint32
	open   [classes]openFrame
	full   chan openFrame
	packer packer
	raw    sync.Pool
	stored atomic.Int64
	bytes  atomic.Int64
	sealed chan struct{}
}

type openFrame struct {
	id    crypto.ID
	class Class
	raw   []byte
}

// NewWriter starts a run of writing to t. Every Writer must be ended with Finish or Abort.
func NewWriter(ctx context.Context, t target.Target, keys *crypto.HostKeys, e crypto.Effort) (*Writer, error) {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	w := &Writer{target: t, group: g, ctx: ctx, cancel: cancel, full: make(chan openFrame), sealed: make(chan struct{})}
	w.raw.New = func() any { b := make([]byte, 0, frameTarget+frameTarget/4); return &b }
	_, _ = rand.Read(w.run[:12]) // never fails: crypto/rand stops the program instead
	w.packer.put = w.putPack
	var sealing sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		sealers, err := newSealers(keys, e)
		if err != nil {
			close(w.full)
			cancel()
			return nil, err
		}
		sealing.Add(1)
		g.Go(func() error {
			defer sealing.Done()
			return w.seal(sealers)
		})
	}
	go func() { sealing.Wait(); close(w.sealed) }()
	return w, nil
}

func newSealers(keys *crypto.HostKeys, e crypto.Effort) (s [classes]*crypto.Sealer, err error) {
	if s[Sealed], err = crypto.NewSealer(e, keys.Sealed...); err != nil {
		return s, err
	}
	s[Host], err = crypto.NewSealer(e, keys.Host...)
	return s, err
}

// Add copies chunk into the open frame of class and says where it will be. The place holds once Finish succeeds.
func (w *Writer) Add(class Class, chunk []byte) (Loc, error) {
	f := &w.open[class]
	if f.raw != nil && len(f.raw)+len(chunk) > frameTarget {
		if err := w.dispatch(f); err != nil {
			return Loc{}, err
		}
	}
	if f.raw == nil {
		w.next++
		f.id, f.class = w.run, class
		binary.BigEndian.PutUint32(f.id[12:], w.next)
		if b, ok := w.raw.Get().(*[]byte); ok {
			f.raw = (*b)[:0]
		}
	}
	loc := Loc{Frame: f.id, Off: len(f.raw), Len: len(chunk)}
	f.raw = append(f.raw, chunk...)
	w.bytes.Add(int64(len(chunk)))
	return loc, nil
}

// dispatch hands a frame to the sealers and waits while all of them are busy: this bounds the memory of a run.
func (w *Writer) dispatch(f *openFrame) error {
	select {
	case w.full <- *f:
		f.raw = nil
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

func (w *Writer) seal(sealers [classes]*crypto.Sealer) error {
	var buf []byte
	for f := range w.full {
		var err error
		if buf, err = sealers[f.class].Seal(buf[:0], f.raw); err != nil {
			return err
		}
		raw := f.raw[:0]
		w.raw.Put(&raw)
		if err := w.packer.add(f.class, f.id, buf); err != nil {
			return err
		}
	}
	return nil
}

// putPack stores a pack in the background.
func (w *Writer) putPack(p Pack, body []byte) error {
	o := p.Object()
	if err := w.target.Put(w.ctx, o.Name, io.NewSectionReader(bytes.NewReader(body), 0, o.Size)); err != nil {
		return err
	}
	w.stored.Add(o.Size)
	return nil
}

// Stored returns the bytes that stand on the target so far, and Added the bytes of chunks that were added.
func (w *Writer) Stored() int64 { return w.stored.Load() }

// Added returns the bytes of the chunks that were added so far.
func (w *Writer) Added() int64 { return w.bytes.Load() }

// Content returns the bytes of the packs of class Sealed. It may be asked for after Finish.
func (w *Writer) Content() int64 { return w.packer.content }

// Finish seals and stores what is open and returns the packs, all of them durable.
func (w *Writer) Finish() ([]Pack, error) {
	defer w.cancel()
	err := w.flush()
	close(w.full)
	<-w.sealed
	packs, perr := w.packer.finish() // before Wait, which ends the context of the puts
	return packs, cmp.Or(w.group.Wait(), err, perr)
}

// Run returns the twelve bytes that the IDs of all frames of this run begin with.
func (w *Writer) Run() [12]byte { return [12]byte(w.run[:12]) }

func (w *Writer) flush() error {
	for c := range w.open {
		if w.open[c].raw == nil {
			continue
		}
		if err := w.dispatch(&w.open[c]); err != nil {
			return err
		}
	}
	return nil
}

// Abort stops the run, also a Put that hangs. What was stored is garbage that no record names.
func (w *Writer) Abort() {
	w.cancel()
	close(w.full)
	<-w.sealed
	_ = w.group.Wait() // the run failed already; its error was returned to the caller
	w.packer.abort()
}

// packer gathers sealed frames. Frames of one class share a pack, so that trees can be read without content.
type packer struct {
	put     func(Pack, []byte) error
	mu      sync.Mutex
	open    [classes]*openPack
	done    []Pack
	content int64 // bytes of packs of class Sealed
	puts    errgroup.Group
	// failed is the first error of a put: the run ends at the next frame instead of compressing for nothing.
	failed atomic.Pointer[error]
	slot   chan []byte // bodies to fill; how many there are bounds the memory
	once   sync.Once
}

// bodies is how many packs are in memory: one open per class, and one on its way.
const bodies = int(classes) + 1

func (p *packer) add(class Class, id crypto.ID, sealed []byte) error {
	p.once.Do(func() {
		p.slot = make(chan []byte, bodies)
		for range bodies {
			p.slot <- nil
		}
		p.puts.SetLimit(bodies)
	})
	if err := p.failed.Load(); err != nil {
		return fmt.Errorf("store packs: %w", *err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.open[class]
	if o == nil {
		body := <-p.slot
		if body == nil {
			body = make([]byte, 0, packTarget+2*frameTarget) // enough for the last frame, so that it never grows
		}
		o = openIn(body)
		p.open[class] = o
	}
	o.add(id, sealed)
	if len(o.body) >= packTarget {
		p.close(class)
	}
	return nil
}

func (p *packer) close(class Class) {
	o := p.open[class]
	p.open[class] = nil
	o.end()
	p.done = append(p.done, o.Pack)
	if class == Sealed {
		p.content += o.Size
	}
	p.puts.Go(func() error {
		err := p.put(o.Pack, o.body)
		if err != nil {
			p.failed.CompareAndSwap(nil, &err)
		}
		p.slot <- o.body
		return err
	})
}

func (p *packer) finish() ([]Pack, error) {
	for c := range p.open {
		if p.open[c] != nil {
			p.close(Class(c))
		}
	}
	if err := p.puts.Wait(); err != nil {
		return nil, fmt.Errorf("store packs: %w", err)
	}
	return p.done, nil
}

func (p *packer) abort() {
	_ = p.puts.Wait() // the run failed already
}
