package repository

import (
	"sync"

	"lifeboat/journal"
)

// Memory keeps the journal for the next OpenHost of the same process, so that it need not be verified again. The zero Memory is empty; a
// nil one remembers nothing. It is safe for concurrent use.
type Memory struct {
	mu    sync.Mutex
	chain *journal.Chain
}

// recall returns a chain of one's own that ends in head, nil where what is remembered does not.
func (m *Memory) recall(head journal.Head) *journal.Chain {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chain == nil || m.chain.Len() != head.Seq || m.chain.Head() != head.Hash {
		return nil
	}
	return m.chain.Clone()
}

func (m *Memory) remember(c *journal.Chain) {
	if m == nil || c.Len() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chain = c.Clone()
}
