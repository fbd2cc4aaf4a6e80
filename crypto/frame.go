package crypto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// Sizes of frames, in bytes. Readers refuse what is larger.
const (
	MaxFrame  = 4 << 20 // decompressed
	MaxSealed = 5 << 20 // the age file
)

// ErrDamaged is wrapped by every error that means: these bytes are not what was written.
var ErrDamaged = errors.New("damaged")

// ErrIdentity is wrapped where a sealed object opens with none of the identities at hand.
var ErrIdentity = errors.New("no identity fits")

// headRoom is what the header of a frame may take, in bytes, without a second allocation.
const headRoom = 4 << 10

// skippable is the zstd magic of the frame that pads (RFC 8878, 3.1.2).
const skippable = 0x184D2A50

// Padme returns the smallest Padmé length that holds n bytes (PURBs, Nikitin et al. 2019): it leaks O(log log n) bits of a
// length for at most 12 % of overhead.
func Padme(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}

// pad appends a skippable frame of zeros so that b has a Padmé length.
func pad(b []byte) []byte {
	const header = 8
	n := Padme(len(b)+header) - len(b) - header
	b = binary.LittleEndian.AppendUint32(b, skippable)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	return append(b, make([]byte, n)...)
}

// Sealer turns chunks into frames for a set of recipients. It is not safe for concurrent use.
type Sealer struct {
	recipients []age.Recipient
	key        *keyTap
	enc        *zstd.Encoder
	dec        *zstd.Decoder
	packed     []byte
	opened     bytes.Buffer
	unpacked   []byte
}

// Effort is what a Sealer spends on compression.
type Effort zstd.EncoderLevel

// Fast is for much, Thorough for little: it takes twice the time and saves 7 % of pages of a database.
const (
	Fast     = Effort(zstd.SpeedFastest)
	Thorough = Effort(zstd.SpeedDefault)
)

// NewSealer makes a Sealer for recipients, all of one class.
func NewSealer(e Effort, recipients ...age.Recipient) (*Sealer, error) {
	if len(recipients) == 0 {
		return nil, errors.New("seal frames: no recipient")
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.EncoderLevel(e)), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
	if err != nil {
		return nil, fmt.Errorf("seal frames: %w", err)
	}
	dec, err := newDecoder(MaxFrame)
	if err != nil {
		return nil, fmt.Errorf("seal frames: %w", err)
	}
	tap := &keyTap{Recipient: recipients[0]}
	return &Sealer{recipients: append([]age.Recipient{tap}, recipients[1:]...), key: tap, enc: enc, dec: dec}, nil
}

// Seal appends the frame that holds raw to dst. Before it returns, the frame was opened again and compared with raw, so
// that bad memory or a bug of the encoder cannot reach a target.
func (s *Sealer) Seal(dst, raw []byte) ([]byte, error) {
	if len(raw) > MaxFrame {
		return dst, fmt.Errorf("seal frame: %d bytes are more than a frame holds", len(raw))
	}
	defer s.key.forget()
	s.packed = pad(s.enc.EncodeAll(raw, s.packed[:0]))
	start := len(dst)
	out := bytes.NewBuffer(slices.Grow(dst, len(s.packed)+len(s.packed)/1024+headRoom))
	w, err := age.Encrypt(out, s.recipients...)
	if err != nil {
		return dst, fmt.Errorf("seal frame: %w", err)
	}
	if _, err := w.Write(s.packed); err != nil {
		return dst, fmt.Errorf("seal frame: %w", err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("seal frame: %w", err)
	}
	if err := s.readBack(out.Bytes()[start:], raw); err != nil {
		return dst, fmt.Errorf("read back a sealed frame: %w (suspect this machine's memory or processor)", err)
	}
	return out.Bytes(), nil
}

func (s *Sealer) readBack(sealed, raw []byte) error {
	r, err := age.Decrypt(bytes.NewReader(sealed), age.NewInjectedFileKeyIdentity(s.key.fileKey))
	if err != nil {
		return err
	}
	s.opened.Reset()
	if _, err := s.opened.ReadFrom(r); err != nil {
		return err
	}
	if s.unpacked, err = s.dec.DecodeAll(s.opened.Bytes(), s.unpacked[:0]); err != nil {
		return err
	}
	if !bytes.Equal(s.unpacked, raw) {
		return fmt.Errorf("other bytes came back than went in: %w", ErrDamaged)
	}
	return nil
}

// keyTap is a recipient that lets its Sealer see the file key while a frame is sealed.
type keyTap struct {
	age.Recipient
	fileKey []byte
}

func (t *keyTap) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	t.fileKey = bytes.Clone(fileKey)
	return t.Recipient.Wrap(fileKey)
}

// WrapWithLabels forwards the labels: without them age would mix hybrid and classic recipients in silence.
func (t *keyTap) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	t.fileKey = bytes.Clone(fileKey)
	if r, ok := t.Recipient.(age.RecipientWithLabels); ok {
		return r.WrapWithLabels(fileKey)
	}
	s, err := t.Recipient.Wrap(fileKey)
	return s, nil, err
}

func (t *keyTap) forget() { clear(t.fileKey); t.fileKey = nil }

// Opener opens frames. It is not safe for concurrent use.
type Opener struct {
	identities []age.Identity
	dec        *zstd.Decoder
	plain      bytes.Buffer
}

// NewOpener makes an Opener that tries identities in order.
func NewOpener(identities ...age.Identity) (*Opener, error) {
	dec, err := newDecoder(MaxFrame)
	if err != nil {
		return nil, fmt.Errorf("open frames: %w", err)
	}
	return &Opener{identities: identities, dec: dec}, nil
}

// Open appends the content of a sealed frame to dst[:0]. Errors wrap ErrIdentity or ErrDamaged.
func (o *Opener) Open(dst, sealed []byte) ([]byte, error) {
	if len(sealed) > MaxSealed {
		return nil, fmt.Errorf("open frame: %d bytes are more than a frame has: %w", len(sealed), ErrDamaged)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), o.identities...)
	if err != nil {
		return nil, openError("open frame", err)
	}
	o.plain.Reset()
	if _, err := o.plain.ReadFrom(io.LimitReader(r, MaxSealed)); err != nil {
		return nil, fmt.Errorf("open frame: %w: %w", ErrDamaged, err)
	}
	raw, err := o.dec.DecodeAll(o.plain.Bytes(), dst[:0])
	if err != nil {
		return nil, fmt.Errorf("decompress frame: %w: %w", ErrDamaged, err)
	}
	return raw, nil
}

// openError tells a wrong key from damage.
func openError(what string, err error) error {
	var nomatch *age.NoIdentityMatchError
	if errors.As(err, &nomatch) {
		return fmt.Errorf("%s: %w", what, ErrIdentity)
	}
	if strings.HasPrefix(err.Error(), "failed to read header") { // and repeats what it could not read
		return fmt.Errorf("%s: %w: it does not begin as an age file does", what, ErrDamaged)
	}
	return fmt.Errorf("%s: %w: %.200s", what, ErrDamaged, err)
}

func newDecoder(limit uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderLowmem(true))
}
