package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"lifeboat/internal/atomicfile"
)

// marker is a file of the partial directory that says that the content there is that of a directory that was taken over.
type marker struct {
	changed  bool // since then; otherwise it can be given back
	identity string
}

const (
	markerName = "reuse"
	markerText = "lifeboat restore --reuse did not end here: repeat it."
)

func (m marker) write(dir string) error {
	state := "as it was"
	if m.changed {
		state = "changed"
	}
	return atomicfile.Write(filepath.Join(dir, partial, markerName), fmt.Appendf(nil, "%s\n%s\n%s\n", markerText, m.identity, state), 0o600)
}

// readMarker reads the marker of a directory, if it has one.
func readMarker(dir string) (m marker, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, partial, markerName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) != 4 || lines[0] != markerText {
		return m, false, fmt.Errorf("read %s: it is none of this version", filepath.Join(dir, partial, markerName))
	}
	return marker{lines[2] == "changed", lines[1]}, true, nil
}
