package local

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// place gives the file temp in tmp its final name base in d, by a hard link, or by an exclusive rename where the file
// system has no hard links (FAT, some network mounts). Unless it is to replace, a taken name is fs.ErrExist.
func place(tmp *os.Root, temp string, d *os.Root, base string, replace bool) error {
	from, err := tmp.Open(".")
	if err != nil {
		return err
	}
	defer release(from)
	to, err := d.Open(".")
	if err != nil {
		return err
	}
	defer release(to)

	if replace {
		if err := unix.Renameat(int(from.Fd()), temp, int(to.Fd()), base); err != nil {
			return fmt.Errorf("rename: %w", err)
		}
		return nil
	}
	for {
		err = unix.Linkat(int(from.Fd()), temp, int(to.Fd()), base, 0)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EEXIST) && isSame(tmp, temp, d, base):
		return nil // an interrupted or repeated call had succeeded
	case errors.Is(err, unix.EPERM), errors.Is(err, errors.ErrUnsupported):
		return renameExclusive(int(from.Fd()), temp, int(to.Fd()), base)
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("link: %w: the target has to be on one file system", err)
	case err != nil:
		return fmt.Errorf("link: %w", err)
	}
	return nil
}

func isSame(tmp *os.Root, temp string, d *os.Root, base string) bool {
	a, errA := tmp.Lstat(temp)
	b, errB := d.Lstat(base)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
