package local

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// renameExclusive renames a file between two open directories and fails with fs.ErrExist if the name is taken.
func renameExclusive(from int, temp string, to int, base string) error {
	err := unix.Renameat2(from, temp, to, base, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("the file system has neither hard links nor exclusive renames: use another: %w", err)
	case err != nil:
		return fmt.Errorf("rename: %w", err)
	}
	return nil
}
