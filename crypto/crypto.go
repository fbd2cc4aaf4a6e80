// Package crypto holds every key of a repository and everything done with them: keyed identifiers, sealed frames, key
// files for the recipients, the root and what it certifies. It knows nothing of packs, trees or targets. The byte formats
// are in doc/format.md, what they protect against in doc/threat-model.md.
package crypto

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
)

// IDSize is the length of an ID in bytes.
const IDSize = 16

// ID is a keyed MAC of plain text, or a frame's arbitrary name.
type ID [IDSize]byte

// String is the ID as 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText and UnmarshalText use the form of String.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) != 2*IDSize {
		return fmt.Errorf("parse ID %.40q: not %d hexadecimal digits", b, 2*IDSize)
	}
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("parse ID %.40q: not lower-case hexadecimal", b)
		}
	}
	_, err := hex.Decode(id[:], b)
	return err
}

// ParseID reads the form of String.
func ParseID(s string) (id ID, err error) { return id, id.UnmarshalText([]byte(s)) }

// IDKey is the secret behind all IDs of one repository: a key per kind.
type IDKey struct {
	page, pages, stream, tree, source, log, local [sha256.Size]byte
}

// NewIDKey derives the keys of a repository from its 32-byte secret.
func NewIDKey(secret []byte, repository ID) (k IDKey, err error) {
	if len(secret) != 32 {
		return k, errors.New("the ID key is not 32 bytes long")
	}
	for kind, key := range map[string]*[sha256.Size]byte{"page": &k.page, "pages": &k.pages, "stream": &k.stream, "tree": &k.tree, "source": &k.source, "log": &k.log, "local": &k.local} {
		b, err := hkdf.Key(sha256.New, secret, repository[:], "lifeboat/1 "+kind, len(key))
		if err != nil {
			return k, fmt.Errorf("derive the %s key: %w", kind, err)
		}
		copy(key[:], b)
	}
	return k, nil
}

// Hasher computes IDs. It is not safe for concurrent use: each goroutine has its own.
type Hasher struct {
	page, pages, stream, tree, source, log, local hash.Hash
	hashes                                        []byte
	sum                                           []byte
}

// NewHasher makes a Hasher with the keys of k.
func (k IDKey) NewHasher() *Hasher {
	mac := func(key [sha256.Size]byte) hash.Hash { return hmac.New(sha256.New, key[:]) }
	return &Hasher{page: mac(k.page), pages: mac(k.pages), stream: mac(k.stream), tree: mac(k.tree), source: mac(k.source), log: mac(k.log), local: mac(k.local)}
}

func (h *Hasher) one(mac hash.Hash, b []byte) (id ID) {
	mac.Reset()
	mac.Write(b)
	h.sum = mac.Sum(h.sum[:0])
	copy(id[:], h.sum)
	return id
}

// Page is the hash of one page, an ingredient of Pages and of page maps.
func (h *Hasher) Page(page []byte) ID { return h.one(h.page, page) }

// Stream is the ID of a chunk of a stream.
func (h *Hasher) Stream(chunk []byte) ID { return h.one(h.stream, chunk) }

// Tree is the ID of a tree node.
func (h *Hasher) Tree(node []byte) ID { return h.one(h.tree, node) }

// LogRecord is the ID of a record of captured log.
func (h *Hasher) LogRecord(b []byte) ID { return h.one(h.log, b) }

// Local authenticates what this host keeps for itself; it is not part of the repository format.
func (h *Hasher) Local(b []byte) ID { return h.one(h.local, b) }

// Source is the opaque name that stands for a source in public records: 16 hexadecimal digits.
func (h *Hasher) Source(name string) string {
	id := h.one(h.source, []byte(name))
	return hex.EncodeToString(id[:8])
}

// Log is the opaque name of the n-th log of a source: of the first it is the source's own.
func (h *Hasher) Log(source string, n uint64) string {
	if n > 0 {
		source += "\x00" + strconv.FormatUint(n, 10)
	}
	return h.Source(source)
}

// Pages is the ID of a chunk of length bytes whose pages have the given hashes.
func (h *Hasher) Pages(pageSize, length int, pages []ID) ID {
	b := binary.BigEndian.AppendUint32(h.hashes[:0], uint32(pageSize))
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	for i := range pages {
		b = append(b, pages[i][:]...)
	}
	h.hashes = b
	return h.one(h.pages, b)
}

// PageChunk is the ID of a chunk of pages, hashed page by page.
func (h *Hasher) PageChunk(pageSize int, chunk []byte) ID {
	var pages []ID
	for off := 0; off < len(chunk); off += pageSize {
		pages = append(pages, h.Page(chunk[off:min(off+pageSize, len(chunk))]))
	}
	return h.Pages(pageSize, len(chunk), pages)
}
