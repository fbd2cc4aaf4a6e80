package postgres

import (
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

// walPage is the size of the log's pages on every server that packages ship.
const walPage = 8192

// walStream is a running START_REPLICATION.
type walStream struct {
	*session
	at   lsn    // of the next byte that Read returns
	data []byte // of the message at hand

	sum     hash.Hash // of what is read from sumFrom on; nil: none
	sumFrom lsn
}

// lastPage is the beginning of the page that ends at end, or holds the byte before it.
func lastPage(end lsn) lsn { return (end - 1) / walPage * walPage }

// startWAL streams the log of a timeline, through a physical slot where one is named.
func (s *session) startWAL(slot string, from lsn, timeline uint32) (*walStream, error) {
	if slot != "" {
		slot = fmt.Sprintf("SLOT %q ", slot)
	}
	if err := s.send(fmt.Sprintf("START_REPLICATION %sPHYSICAL %s TIMELINE %d", slot, from, timeline)); err != nil {
		return nil, err
	}
	m, err := s.receive()
	if err != nil {
		return nil, err
	}
	if _, ok := m.(*pgproto3.CopyBothResponse); !ok {
		return nil, fmt.Errorf("stream the log: %T instead of the log: %w", m, errProtocol)
	}
	return &walStream{session: s, at: from}, nil
}

// Read returns the log as it comes, and waits for more at its end.
func (w *walStream) Read(p []byte) (int, error) {
	for len(w.data) == 0 {
		m, err := w.receive()
		if err != nil {
			return 0, err
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := w.message(m.Data); err != nil {
				return 0, err
			}
		case *pgproto3.CopyDone:
			return 0, fmt.Errorf("stream the log: timeline %d ends at %s: %w", w.timeline, w.at, io.ErrUnexpectedEOF)
		default:
			return 0, fmt.Errorf("stream the log: %T in the middle: %w", m, errProtocol)
		}
	}
	n := copy(p, w.data)
	w.data, w.at = w.data[n:], w.at+lsn(n)
	if w.sum != nil && w.at > w.sumFrom {
		w.sum.Write(p[n-int(min(w.at-w.sumFrom, lsn(n))) : n])
	}
	return n, nil
}

// message reads one message of the stream: log, or a keepalive that may want an answer.
func (w *walStream) message(b []byte) error {
	switch {
	case len(b) >= 25 && b[0] == 'w':
		if from := lsn(binary.BigEndian.Uint64(b[1:])); from != w.at {
			return fmt.Errorf("stream the log: %s came where %s was due: %w", from, w.at, errProtocol)
		}
		w.data = b[25:]
		return nil
	case len(b) >= 18 && b[0] == 'k':
		if b[17] != 0 {
			return w.status(w.at)
		}
		return nil
	}
	return fmt.Errorf("stream the log: a message of %d bytes: %w", len(b), errProtocol)
}

// status tells the server how far the log was received, and that nothing before flushed is needed any more.
func (w *walStream) status(flushed lsn) error {
	b := make([]byte, 1, 34)
	b[0] = 'r'
	b = binary.BigEndian.AppendUint64(b, uint64(w.at))
	b = binary.BigEndian.AppendUint64(b, uint64(flushed))
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint64(b, 0) // our time, for statistics of the server
	w.Frontend().Send(&pgproto3.CopyData{Data: append(b, 0)})
	return w.Frontend().Flush()
}

// segmentName is the file name of the segment that holds the byte at l.
func segmentName(timeline uint32, l lsn, size int64) string {
	n := uint64(l) / uint64(size)
	per := uint64(1<<32) / uint64(size)
	return fmt.Sprintf("%08X%08X%08X", timeline, n/per, n%per)
}
