package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lifeboat/repository"
)

// lockState keeps other daemons from a state directory. The lock ends with the process.
func lockState(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "daemon.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("state directory %s: %w: `lifeboat init` makes it", dir, repository.ErrNotInitialised)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the state directory for the daemon: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("state directory %s: %w: a daemon runs with it: `lifeboat status` shows it", dir, repository.ErrLocked), f.Close())
	}
	return f, nil
}
