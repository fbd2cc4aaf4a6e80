package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// CheckSpace refuses a restore of size bytes below dir if its file system has less free.
func CheckSpace(dir string, size int64) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("%w: restore to %s: %w", ErrRefused, dir, err)
	}
	var st unix.Statfs_t
	for {
		err := unix.Statfs(at, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return fmt.Errorf("%w: restore to %s: %w", ErrRefused, dir, err)
		}
		at = filepath.Dir(at)
	}
	if free := st.Bavail * uint64(st.Bsize); uint64(size)+size0 > free {
		return fmt.Errorf("%w: restore to %s needs %s and the file system has %s free: choose another place or make room",
			ErrRefused, dir, humanize.IBytes(uint64(size)+size0), humanize.IBytes(free))
	}
	return nil
}

// size0 is room for the spilled plan and directories.
const size0 = 16 << 20
