//go:build unix && !linux

package local

import (
	"errors"
	"fmt"
)

// renameExclusive has no portable counterpart outside Linux.
func renameExclusive(int, string, int, string) error {
	return fmt.Errorf("the file system has no hard links: use another: %w", errors.ErrUnsupported)
}
