package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Layout of the -shm file, https://sqlite.org/walformat.html section 2.1: the wal-index header twice, then what
// checkpoints have done. Numbers are in the byte order of the machine, except for the salts.
const (
	indexSize    = 48
	offBackfill  = 2 * indexSize // nBackfill: frames known to be in the database file
	offAttempted = 128           // nBackfillAttempted: frames that may be in it, wholly or in part
	indexVersion = 3007000
	tornAttempts = 100
)

// index is one state of the wal-index header. Any commit, and any reset of the log, changes it, so two equal readings
// have the same state of the database between them.
type index struct {
	raw      [indexSize]byte
	pageSize int // bytes; 0 while the log is empty
	frames   uint32
	pages    uint32 // size of the database; 0 while the log is empty
	checksum [2]uint32
	salts    [8]byte // as they stand in the log, big-endian
}

// salt is both salts as one number.
func (x *index) salt() uint64 { return binary.BigEndian.Uint64(x.salts[:]) }

// readIndex reads the header. ok is false when a writer was in the middle of changing it. Errors wrap errLog.
func readIndex(shm io.ReaderAt) (x index, ok bool, err error) {
	var both [2 * indexSize]byte
	if _, err := shm.ReadAt(both[:], 0); err != nil {
		return x, false, fmt.Errorf("%w: read wal-index header: %w", errLog, err)
	}
	copy(x.raw[:], both[:])
	if x.raw != [indexSize]byte(both[indexSize:]) || x.raw[12] == 0 || !x.sound() {
		return x, false, nil
	}
	ne := binary.NativeEndian
	if v := ne.Uint32(x.raw[0:]); v != indexVersion {
		return x, false, fmt.Errorf("%w: wal-index version %d instead of %d", errLog, v, indexVersion)
	}
	if v := ne.Uint16(x.raw[14:]); v != 0 {
		x.pageSize = pageSize(v)
	}
	x.frames, x.pages = ne.Uint32(x.raw[16:]), ne.Uint32(x.raw[20:])
	x.checksum = [2]uint32{ne.Uint32(x.raw[24:]), ne.Uint32(x.raw[28:])}
	x.salts = [8]byte(x.raw[32:])
	return x, true, nil
}

// sound checks the checksum over the first 40 bytes, https://sqlite.org/fileformat2.html section 4.2, native order.
func (x *index) sound() bool {
	ne := binary.NativeEndian
	var s0, s1 uint32
	for i := 0; i < 40; i += 8 {
		s0 += ne.Uint32(x.raw[i:]) + s1
		s1 += ne.Uint32(x.raw[i+4:]) + s0
	}
	return s0 == ne.Uint32(x.raw[40:]) && s1 == ne.Uint32(x.raw[44:])
}

// readCount reads one number of the checkpoint part.
func readCount(shm io.ReaderAt, off int64) (uint32, error) {
	var b [4]byte
	if _, err := shm.ReadAt(b[:], off); err != nil {
		return 0, fmt.Errorf("%w: read checkpoint state: %w", errLog, err)
	}
	return binary.NativeEndian.Uint32(b[:]), nil
}

// pinned is the state that a read transaction holds.
type pinned struct {
	index
	// inFile says that the database file alone is this state and the log must be ignored: all its frames had been
	// copied when the state was pinned, and then the log may begin anew under the reader.
	inFile bool
}

// held checks, without relying on any lock, that nothing has overwritten the state since it was pinned: no checkpoint
// went past it, and the log was not begun anew if it is needed. It guards against whatever else in this process may
// have dropped our locks. A state that is being changed is looked at again, for a tenth of a second.
func (p *pinned) held(shm io.ReaderAt) error {
	for try := 0; ; try++ {
		err := p.heldNow(shm)
		if !errors.Is(err, errTorn) {
			return err
		}
		if try == tornAttempts {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		time.Sleep(time.Millisecond)
	}
}

var errTorn = errors.New("the wal-index is in the middle of a change")

func (p *pinned) heldNow(shm io.ReaderAt) error {
	now, ok, err := readIndex(shm)
	if err != nil {
		return err
	}
	attempted, err := readCount(shm, offAttempted)
	if err != nil {
		return err
	}
	after, stillOK, err := readIndex(shm)
	if err != nil {
		return err
	}
	sameLog := now.salts == p.salts
	switch {
	case !ok || !stillOK || now.salts != after.salts:
		return errTorn
	case !sameLog && !p.inFile:
		return fmt.Errorf("%w: the log was begun anew", ErrLost)
	case sameLog && attempted > p.frames:
		return fmt.Errorf("%w: a checkpoint went past it", ErrLost)
	case !sameLog && attempted > 0: // a checkpoint of the newer log; or its count is about to be set to 0
		return errTorn
	}
	return nil
}
