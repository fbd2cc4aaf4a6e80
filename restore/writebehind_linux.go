package restore

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginWriting asks the system to begin to write what is dirty of a file, and waits for nothing. It is only a wish: Finish makes files durable.
func beginWriting(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) // not every file system can
}
