package sftp

import (
	"encoding/binary"
	"io"
	"slices"
)

// Modes of what is made. Files are never written twice, so that not even their owner needs to be able to.
const (
	fileMode = 0o400
	dirMode  = 0o700
)

// Of the protocol, version 3: the requests and the attribute concerned.
const (
	fxpOpen         = 3
	fxpMkdir        = 14
	attrPermissions = 4
)

// modes adds the mode to requests that make a file or a directory. github.com/pkg/sftp leaves it out, and to change it
// afterwards is too late, and not what an append-only account may do. A request comes in one Write, but for the data of an
// SSH_FXP_WRITE, which follows in another. Writes come one at a time.
type modes struct {
	io.WriteCloser
	data int // bytes of the request that are still to come
}

func (m *modes) Write(p []byte) (int, error) {
	if m.data > 0 || len(p) < 9 {
		m.data -= len(p)
		return m.WriteCloser.Write(p)
	}
	m.data = int(binary.BigEndian.Uint32(p)) + 4 - len(p)
	var mode uint32
	switch p[4] {
	case fxpOpen:
		mode = fileMode
	case fxpMkdir:
		mode = dirMode
	default:
		return m.WriteCloser.Write(p)
	}
	q := slices.Clone(p[:len(p)-4]) // the last word says which attributes follow: none
	q = binary.BigEndian.AppendUint32(q, attrPermissions)
	q = binary.BigEndian.AppendUint32(q, mode)
	binary.BigEndian.PutUint32(q, uint32(len(q)-4))
	if _, err := m.WriteCloser.Write(q); err != nil {
		return 0, err
	}
	return len(p), nil
}
