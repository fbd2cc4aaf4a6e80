package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
)

// usage counts how much of each frame a tree uses. A restore decodes whole frames, so frames that are mostly dead make it
// slow; only the writer, which sees the pages, can store again what still lives in them. Like the page map it is a cache
// in the state directory, named by the tree that it describes.
type usage map[crypto.ID]*frameUse

type frameUse struct {
	live, size int64 // bytes; size is the end of the last chunk ever seen in the frame
}

// sparse is the share of live bytes below which a frame is not worth keeping: simulated over a year of increments with
// 1 % of the pages dirty, it keeps what a restore decodes below 1.5 times the database while storing twice the changes.
const sparse = 0.55

func (u usage) add(extents []Extent) {
	for _, e := range extents {
		if e.IsZero() {
			continue
		}
		f := u[e.Chunk.Frame]
		if f == nil {
			f = &frameUse{}
			u[e.Chunk.Frame] = f
		}
		f.live += e.Bytes
		f.size = max(f.size, int64(e.Chunk.Off+e.Chunk.Len))
	}
}

// inherit takes over the sizes that an earlier tree saw.
func (u usage) inherit(old usage) {
	for id, f := range u {
		if o := old[id]; o != nil {
			f.size = max(f.size, o.size)
		}
	}
}

// sparse reports whether extents touch a frame that is mostly dead.
func (u usage) sparse(extents []Extent) bool {
	for _, e := range extents {
		if f := u[e.Chunk.Frame]; f != nil && float64(f.live) < sparse*float64(f.size) {
			return true
		}
	}
	return false
}

// Amplification is how many bytes of frames a restore decodes per byte of content.
func (u usage) amplification() float64 {
	var live, size int64
	for _, f := range u {
		live += f.live
		size += f.size
	}
	if live == 0 {
		return 1
	}
	return float64(size) / float64(live)
}

const usageMagic = "lifeboat usage 1"

func usagePath(dir string, root crypto.ID) string { return filepath.Join(dir, root.String()+".use") }

func (u usage) save(dir string, root crypto.ID, hasher *crypto.Hasher) error {
	b := append([]byte(usageMagic), root[:]...)
	for id, f := range u {
		b = append(b, id[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(f.live))
		b = binary.BigEndian.AppendUint64(b, uint64(f.size))
	}
	mac := hasher.Local(b)
	if err := atomicfile.Write(usagePath(dir, root), append(b, mac[:]...), 0o600); err != nil {
		return fmt.Errorf("write frame usage: %w", err)
	}
	return nil
}

// loadUsage returns an empty usage where there is none that verifies: nothing is then stored again.
func loadUsage(dir string, root crypto.ID, hasher *crypto.Hasher) usage {
	const entry = crypto.IDSize + 16
	u := usage{}
	b, err := os.ReadFile(usagePath(dir, root))
	head := append([]byte(usageMagic), root[:]...)
	if err != nil || len(b) < len(head)+crypto.IDSize || !bytes.HasPrefix(b, head) {
		return u
	}
	body := b[:len(b)-crypto.IDSize]
	if mac := hasher.Local(body); !bytes.Equal(mac[:], b[len(body):]) || (len(body)-len(head))%entry != 0 {
		return u
	}
	for body = body[len(head):]; len(body) > 0; body = body[entry:] {
		u[crypto.ID(body[:crypto.IDSize])] = &frameUse{
			int64(binary.BigEndian.Uint64(body[crypto.IDSize:])),
			int64(binary.BigEndian.Uint64(body[crypto.IDSize+8:])),
		}
	}
	return u
}
