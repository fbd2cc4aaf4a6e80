package strike

import (
	"fmt"
	"path/filepath"
)

// Undurable says what a power failure could undo or mangle although the program went on as if it could not: a file
// that got a name (by rename or link) while bytes written to it were not synced, or a name given or taken in a
// directory that was not synced before the end. Failed calls count for nothing. Empty means that the order is sound.
func Undurable(calls []Call) []string {
	dirty := map[string]bool{}   // files written since their last sync
	names := map[string]string{} // directory -> what changed in it since its last sync
	var out []string
	for _, c := range calls {
		if c.Err != 0 {
			continue
		}
		switch c.Name {
		case "write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "truncate", "fallocate", "copy_file_range", "sendfile":
			dirty[c.Path] = true
		case "fsync", "fdatasync":
			delete(dirty, c.Path)
			delete(names, c.Path)
		case "sync", "syncfs":
			clear(dirty)
			clear(names)
		case "rename", "renameat", "renameat2", "link", "linkat":
			if dirty[c.Path] {
				out = append(out, fmt.Sprintf("%s: written and not synced before", c))
			}
			names[filepath.Dir(c.To)] = c.String()
			if c.Name[0] == 'r' {
				delete(dirty, c.Path)
				if from := filepath.Dir(c.Path); names[from] == "" {
					names[from] = c.String()
				}
			}
		case "unlink", "unlinkat", "rmdir":
			delete(dirty, c.Path)
		case "mkdir", "mkdirat":
			names[filepath.Dir(c.Path)] = c.String()
		}
	}
	for _, c := range calls { // in the order of the calls, not of the map
		dir := filepath.Dir(c.To)
		if c.To == "" {
			dir = filepath.Dir(c.Path)
		}
		if names[dir] == c.String() {
			out = append(out, fmt.Sprintf("%s: directory %s not synced after", c, dir))
			delete(names, dir)
		}
	}
	return out
}
