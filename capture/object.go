package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/snapshot"
)

// Limits in bytes; what is larger is damage or an attack.
const (
	MaxObject = 1 << 30
	maxNote   = 256 << 10
	maxHead   = 64 // of the first line
)

// frameSize is how much log one frame holds: a whole block of its segment, but for the ends of what an object holds.
const frameSize = 1 << 20

const (
	objectMagic = "lifeboat log 1"
	indexMagic  = "lifeboat log index 1\n"
)

// Header is what the signed note of an object says.
type Header struct {
	Name       // but for its digest
	Repository crypto.ID
	After      uint64    // number of the newest record when it was written
	System     string    // the cluster, in the engine's words
	Until      time.Time // by the server's clock: what was committed before it stands before To
	Newest     time.Time // of the commits in it; zero without any
	Proof      Proof
	index      int    // how many of the frames are the index
	indexSum   string // SHA-256 of them, hex
	frames     []int  // lengths of all
	bodySum    string // SHA-256 of the other frames, hex
}

// Proof is the last record in a line of log, up to an object's end, that no other history has at this place: of a transaction's end, with its
// time. Without one all is zero.
type Proof struct {
	From, To uint64
	ID       crypto.ID // of kind log
}

// maxProof bounds the record of a proof, in bytes.
const maxProof = 64 << 10

// text is the note's text.
func (h *Header) text() string {
	var b strings.Builder
	newest := "-"
	if !h.Newest.IsZero() {
		newest = h.Newest.UTC().Format(time.RFC3339Nano)
	}
	fmt.Fprintf(&b, "%s\nrepository %s\nafter %d\nsource %s\nsystem %s\nline %016x\nfrom %016x\nto %016x\nkind %s\nuntil %s\nnewest %s\nproof %016x %016x %s\nindex %d %s\nframes",
		objectMagic, h.Repository, h.After, h.Source, h.System, h.From.Line, h.From.Offset, h.To.Offset, h.Kind, h.Until.UTC().Format(time.RFC3339Nano), newest, h.Proof.From, h.Proof.To, h.Proof.ID, h.index, h.indexSum)
	for _, n := range h.frames {
		fmt.Fprintf(&b, " %d", n)
	}
	fmt.Fprintf(&b, "\nbody %s\n", h.bodySum)
	return b.String()
}

// parseHeader is the inverse of text.
func parseHeader(text string) (h *Header, err error) {
	lines := strings.Split(text, "\n")
	value := map[string]string{}
	for _, l := range lines[1:] {
		if k, v, ok := strings.Cut(l, " "); ok {
			value[k] = v
		}
	}
	h = &Header{System: value["system"], bodySum: value["body"]}
	h.Source, h.Kind = value["source"], Kind(value["kind"])
	h.Repository, err = crypto.ParseID(value["repository"])
	number := func(s string, base int) (n uint64) {
		n, nerr := strconv.ParseUint(s, base, 64)
		err = errors.Join(err, nerr)
		return n
	}
	moment := func(s string) (t time.Time) {
		t, terr := time.Parse(time.RFC3339Nano, s)
		err = errors.Join(err, terr)
		return t
	}
	h.After = number(value["after"], 10)
	h.From = snapshot.Pos{Line: number(value["line"], 16), Offset: number(value["from"], 16)}
	h.To = snapshot.Pos{Line: h.From.Line, Offset: number(value["to"], 16)}
	h.Until = moment(value["until"])
	if f := strings.Fields(value["proof"]); len(f) == 3 {
		h.Proof.From, h.Proof.To = number(f[0], 16), number(f[1], 16)
		err = errors.Join(err, h.Proof.ID.UnmarshalText([]byte(f[2])))
	}
	if value["newest"] != "-" {
		h.Newest = moment(value["newest"])
	}
	index, sum, _ := strings.Cut(value["index"], " ")
	h.index, h.indexSum = int(number(index, 10)&0xffff), sum
	for _, f := range strings.Fields(value["frames"]) {
		h.frames = append(h.frames, int(number(f, 10)&0x7fffffff))
	}
	if err == nil && h.text() != text {
		err = errors.New("not in canonical form")
	}
	if err != nil {
		return nil, fmt.Errorf("read the note of a log object: %w: %w", crypto.ErrDamaged, err)
	}
	return h, nil
}

// sealer makes the frames of one object at a time.
type sealer struct {
	host, content *crypto.Sealer
	ids           *crypto.Hasher
}

func newSealer(keys *crypto.HostKeys) (s *sealer, err error) {
	s = &sealer{ids: keys.IDs.NewHasher()}
	if s.host, err = crypto.NewSealer(crypto.Fast, keys.Host...); err != nil {
		return nil, err
	}
	s.content, err = crypto.NewSealer(crypto.Fast, keys.Sealed...)
	return s, err
}

// sealers lends sealers, megabytes each: a log at rest has none.
type sealers struct {
	keys *crypto.HostKeys
	idle sync.Pool
}

func (s *sealers) take() (*sealer, error) {
	if by, ok := s.idle.Get().(*sealer); ok {
		return by, nil
	}
	return newSealer(s.keys)
}

// blocks are the sealed frames of whole blocks of a segment, by number: tails and the segment that replaces them share them, on all targets.
type blocks struct {
	mu     sync.Mutex
	frames map[int][]byte
}

// frame seals raw, which is block n or a part of it.
func (b *blocks) frame(n int, by *crypto.Sealer, raw []byte) (sealed []byte, err error) {
	if len(raw) < frameSize {
		return by.Seal(nil, raw)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sealed = b.frames[n]; sealed != nil {
		return sealed, nil
	}
	if sealed, err = by.Seal(nil, raw); err != nil {
		return nil, err
	}
	if b.frames == nil {
		b.frames = map[int][]byte{}
	}
	b.frames[n] = sealed
	return sealed, nil
}

// seal makes the object that holds a stretch of log, and completes h.
func (s *sealer) seal(h *Header, signer note.Signer, log stretch) (object []byte, err error) {
	if h.System == "" || strings.ContainsAny(h.System, " \n") || log.to() != h.To {
		return nil, fmt.Errorf("store log: up to %s for %s, of system %q: a fault of lifeboat", log.to(), h.Name, h.System)
	}
	var index, body [][]byte
	for raw := range slices.Chunk(encodeIndex(log.events), frameSize) {
		sealed, err := s.host.Seal(nil, raw)
		if err != nil {
			return nil, err
		}
		index = append(index, sealed)
	}
	for at := 0; at < len(log.data); {
		n := (log.lead + at) / frameSize
		raw := log.data[at:min(len(log.data), (n+1)*frameSize-log.lead)]
		sealed, err := log.blocks.frame(n, s.content, raw)
		if err != nil {
			return nil, err
		}
		body = append(body, sealed)
		at += len(raw)
	}
	h.index, h.indexSum, h.bodySum = len(index), sum(index), sum(body)
	body = slices.Concat(index, body)
	for _, sealed := range body {
		h.frames = append(h.frames, len(sealed))
	}
	for _, e := range log.events {
		if e.Kind == snapshot.Commit && e.Time.After(h.Newest) {
			h.Newest = e.Time
		}
	}
	signed, err := note.Sign(&note.Note{Text: h.text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign a log object: %w", err)
	}
	object = slices.Concat(append([][]byte{fmt.Appendf(nil, "%s %d\n", objectMagic, len(signed)), signed}, body...)...)
	h.Digest = sum([][]byte{object})
	return object, nil
}

// sum is the SHA-256 of parts one after another, in hex.
func sum(parts [][]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Keys says whose key signs once a record stands; journal.Chain does.
type Keys interface {
	Repository() crypto.ID
	WriterAfter(seq uint64) (note.Verifier, error)
}

// headLine reads the first line of an object: how long its note is.
func headLine(b []byte) (head, length int, err error) {
	line, _, ok := bytes.Cut(b[:min(len(b), maxHead)], []byte("\n"))
	text, found := strings.CutPrefix(string(line), objectMagic+" ")
	n, nerr := strconv.Atoi(text)
	if !ok || !found || nerr != nil || n <= 0 || n > maxNote || strconv.Itoa(n) != text {
		return 0, 0, fmt.Errorf("read a log object: no head: %w", crypto.ErrDamaged)
	}
	return len(line) + 1, n, nil
}

// openHeader verifies the note of an object of this name, which has size bytes, head of them before the note.
func openHeader(keys Keys, name Name, signed []byte, head int, size int64) (*Header, error) {
	_, err := note.Open(signed, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return nil, fmt.Errorf("read %s: no signed note: %w", name, crypto.ErrDamaged)
	}
	h, err := parseHeader(unverified.Note.Text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	key, err := keys.WriterAfter(h.After)
	if err == nil {
		_, err = note.Open(signed, note.VerifierList(key))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: verify its signature: %w: %w", name, crypto.ErrDamaged, err)
	}
	sum := int64(head + len(signed))
	for _, n := range h.frames {
		if n <= 0 || n > crypto.MaxSealed {
			return nil, fmt.Errorf("read %s: a frame of %d bytes: %w", name, n, crypto.ErrDamaged)
		}
		sum += int64(n)
	}
	h.Digest = name.Digest
	if h.Name != name || h.Repository != keys.Repository() || h.index > len(h.frames) || sum != size {
		return nil, fmt.Errorf("read %s: its note is of something else: %w", name, crypto.ErrDamaged)
	}
	return h, nil
}

// noteMark comes before the note of an event: no escaped name has one.
const noteMark = '\t'

func encodeIndex(events []snapshot.LogEvent) []byte {
	b := []byte(indexMagic)
	for _, e := range events {
		b = fmt.Appendf(b, "%s %016x %016x %d %s", e.Kind, e.Start, e.End, e.Time.UnixMicro(), snapshot.Escape(e.ID))
		if e.Note != "" {
			b = append(append(b, noteMark), snapshot.Escape(e.Note)...)
		}
		b = append(b, '\n')
	}
	return b
}

func decodeIndex(b []byte) (out []snapshot.LogEvent, err error) {
	rest, ok := bytes.CutPrefix(b, []byte(indexMagic))
	if !ok {
		return nil, fmt.Errorf("read the index of a log object: not of version 1: %w", crypto.ErrDamaged)
	}
	for line := range bytes.Lines(rest) {
		var e snapshot.LogEvent
		text, comment, noted := strings.Cut(strings.TrimSuffix(string(line), "\n"), string(noteMark))
		f := strings.SplitN(text, " ", 5)
		if len(f) != 5 || len(f[1]) != 16 || len(f[2]) != 16 {
			return nil, fmt.Errorf("read the index of a log object: line %.80q: %w", line, crypto.ErrDamaged)
		}
		var err1, err2, err3, err4, err5 error
		e.Kind = snapshot.EventKind(f[0])
		e.Start, err1 = strconv.ParseUint(f[1], 16, 64)
		e.End, err2 = strconv.ParseUint(f[2], 16, 64)
		micro, err3 := strconv.ParseInt(f[3], 10, 64)
		e.Time = time.UnixMicro(micro).UTC()
		e.ID, err4 = snapshot.Unescape(f[4])
		e.Note, err5 = snapshot.Unescape(comment)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil || noted && comment == "" || e.End < e.Start || len(out) > 0 && e.End < out[len(out)-1].End {
			return nil, fmt.Errorf("read the index of a log object: line %.80q: %w", line, crypto.ErrDamaged)
		}
		out = append(out, e)
	}
	return out, nil
}
