package sftp

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// source reads a body on behalf of a request that may outlive its Put: after end it reads nothing more.
type source struct {
	ctx  context.Context
	mu   sync.Mutex
	body *io.SectionReader
	err  error
}

// newSource begins at the beginning, wherever the body's own cursor is.
func newSource(ctx context.Context, body *io.SectionReader) *source {
	return &source{ctx: ctx, body: io.NewSectionReader(body, 0, body.Size())}
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = s.ctx.Err()
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.body.Read(p)
	if err != nil && err != io.EOF {
		s.err = fmt.Errorf("read body: %w", err)
		return n, s.err
	}
	return n, err
}

// end returns why the body could not be read, or is no longer wanted.
func (s *source) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	if err == nil {
		err = s.ctx.Err()
	}
	s.err = io.ErrClosedPipe
	return err
}
