package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// From version 17 on a server that keeps summaries of its log sends only the blocks that changed since an earlier backup, which
// is named to it by that backup's manifest. Ours is made from the tree of the prior snapshot.
// https://www.postgresql.org/docs/current/app-pgbasebackup.html, https://www.postgresql.org/docs/current/backup-manifest-format.html

// follows makes sure that the cluster is the one that the prior snapshot is of, and has not been set back since.
func (v *view) follows(ctx context.Context, prior *snapshot.Prior) error {
	if prior == nil {
		return nil
	}
	m, err := ParseManifest(prior.Manifest)
	if err != nil {
		return err
	}
	end := prior.Log
	if v.proven, err = v.slot.follows(ctx, v.cfg, end); err == nil && end.Same == nil {
		v.proven, err = v.slot.follows(ctx, v.cfg, m.logEnd())
	}
	if errors.Is(err, snapshot.ErrOther) && prior.Anew {
		v.anew, err = true, nil
	}
	return err
}

// logEnd is where the log of a snapshot ends.
func (m *Manifest) logEnd() snapshot.LogEnd {
	end, err := parseLSN(m.End)
	if err != nil || m.EndDigest == "" {
		return snapshot.LogEnd{System: m.System}
	}
	return snapshot.LogEnd{System: m.System, Pos: snapshot.Pos{Line: uint64(m.Timeline), Offset: uint64(end)}, From: uint64(lastPage(end)), To: uint64(end),
		Same: func(b []byte) bool {
			sum := sha256.Sum256(b)
			return hex.EncodeToString(sum[:]) == m.EndDigest
		}}
}

// follows makes sure that the server's log goes on from where another ended, as far as numbers tell. It is proven where the server still has
// that log, and it is the same: a cluster that was set back and went on has another.
func (s *session) follows(ctx context.Context, cfg *pgconn.Config, end snapshot.LogEnd) (proven bool, err error) {
	if have := strconv.FormatUint(s.system, 10); end.System != "" && have != end.System {
		return false, fmt.Errorf("%w: cluster %s was backed up so far, and cluster %s answers", snapshot.ErrOther, end.System, have)
	}
	if uint64(s.timeline) < end.Line || uint64(s.timeline) == end.Line && uint64(s.position) < end.Offset {
		return false, fmt.Errorf("%w: it was captured up to %s on timeline %d, and is at %s on timeline %d", snapshot.ErrOther, lsn(end.Offset), end.Line, s.position, s.timeline)
	}
	if end.Same == nil {
		return false, nil
	}
	second, err := dial(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer second.close()
	if end.To <= end.From || end.To-end.From > maxMessage {
		return false, nil
	}
	b := make([]byte, end.To-end.From)
	w, err := second.startWAL("", lsn(end.From), uint32(end.Line))
	if err == nil {
		_, err = io.ReadFull(w, b)
	}
	if code(err) != "" {
		return false, nil // it has that log no more
	}
	if err != nil {
		return false, fmt.Errorf("read the log before %s: %w", lsn(end.To), err)
	}
	if !end.Same(b) {
		return false, fmt.Errorf("%w: its log at %s on timeline %d is not the one that was captured: it was set back and went on", snapshot.ErrOther, lsn(end.From), end.Line)
	}
	return true, nil
}

// upload tells the server which files the prior snapshot has, and where its log begins.
func (s *session) upload(ctx context.Context, prior *snapshot.Prior) (*Manifest, error) {
	m, err := ParseManifest(prior.Manifest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", snapshot.ErrPrior, err)
	}
	text, err := backupManifest(m, prior)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", snapshot.ErrPrior, err)
	}
	if _, err := s.CopyFrom(ctx, bytes.NewReader(text), "UPLOAD_MANIFEST"); err != nil {
		return nil, fmt.Errorf("UPLOAD_MANIFEST: %w", err)
	}
	return &m, nil
}

// mainForks are the files of which the server may send changes only. What it is not told of it sends whole: a visibility map it must,
// because the log's records that clear a bit in one do not name its block, and summaries of the log miss the change (seen with
// versions 17.6 and 18.4: index-only scans of what is restored would be wrong).
var mainForks = regexp.MustCompile(`^(global|base/\d+|pg_tblspc/\d+/PG_[^/]+/\d+)/\d+(\.\d+)?$`)

// backupManifest describes a snapshot as BASE_BACKUP would have, but for files that are to be sent whole.
func backupManifest(m Manifest, prior *snapshot.Prior) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": %s,\n\"Files\": [", m.System)
	separator := "\n"
	for f, err := range prior.Files {
		if err != nil {
			return nil, err
		}
		if !mainForks.MatchString(f.Name) {
			continue
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s{ \"Path\": %s, \"Size\": %d }", separator, name, f.Size)
		separator = ",\n"
	}
	fmt.Fprintf(&b, "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": %d, \"Start-LSN\": %q, \"End-LSN\": %q }\n],\n", m.Timeline, m.Start, m.End)
	sum := sha256.Sum256(b.Bytes())
	fmt.Fprintf(&b, "\"Manifest-Checksum\": \"%x\"}\n", sum)
	return b.Bytes(), nil
}

// changes is the name of the file whose changes an archive's file holds.
func (v *view) changes(name string) (whole string, ok bool) {
	dir, base := path.Split(name)
	base, ok = strings.CutPrefix(base, "INCREMENTAL.")
	return dir + base, ok && v.since != nil
}

const (
	changesMagic = 0xd3ae1f0d
	relationSize = 1 << 30 // of one file; servers that were built otherwise send no changes of others
)

// delta reads the head of a file of changes: magic, number of blocks, the length in blocks below which unsent ones stand, the
// blocks' numbers; all of the server's byte order, which is little-endian wherever packages are made. The blocks follow, on the
// next multiple of a block's size.
// https://github.com/postgres/postgres/blob/REL_17_STABLE/src/backend/backup/basebackup.c, sendFile
func (b *baseBackup) delta(item *snapshot.Item, r io.Reader) error {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read its changes: %w", err)
	}
	most := int64(relationSize / b.blockSize)
	count, keep := int64(binary.LittleEndian.Uint32(head[4:])), min(int64(binary.LittleEndian.Uint32(head[8:])), most)
	if binary.LittleEndian.Uint32(head[:]) != changesMagic || count > most {
		return fmt.Errorf("read its changes: they begin with %x: %w", head, errProtocol)
	}
	numbers := make([]byte, 4*count)
	if _, err := io.ReadFull(r, numbers); err != nil {
		return fmt.Errorf("read its changes: %w", err)
	}
	d := &snapshot.Delta{Keep: keep}
	length := keep
	for i := range count {
		n := int64(binary.LittleEndian.Uint32(numbers[4*i:]))
		if n >= most || i > 0 && n <= d.Pages[i-1] {
			return fmt.Errorf("read its changes: block %d: %w", n, errProtocol)
		}
		d.Pages = append(d.Pages, n)
		length = max(length, n+1)
	}
	size, used := int64(b.blockSize), int64(len(head)+len(numbers))
	if count > 0 {
		used = (used + size - 1) / size * size
		if _, err := io.CopyN(io.Discard, r, used-int64(len(head)+len(numbers))); err != nil {
			return fmt.Errorf("read its changes: %w", err)
		}
	}
	if item.Size != used+count*size {
		return fmt.Errorf("read its changes: %d bytes for %d blocks: %w", item.Size, count, errProtocol)
	}
	item.Delta, item.Size = d, length*size
	return nil
}

// label makes the backup_label of changes one of a whole backup, which the tree is, after it made sure whose changes they are.
func (m *Manifest) label(r io.Reader, size int64) (io.Reader, int64, error) {
	if size > 1<<16 {
		return nil, 0, fmt.Errorf("read backup_label: %d bytes: %w", size, errProtocol)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, fmt.Errorf("read backup_label: %w", err)
	}
	var out strings.Builder
	var from, timeline string
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "INCREMENTAL FROM LSN: "); ok {
			from = strings.TrimSpace(v)
		} else if v, ok := strings.CutPrefix(line, "INCREMENTAL FROM TLI: "); ok {
			timeline = strings.TrimSpace(v)
		} else {
			out.WriteString(line)
		}
	}
	if from != m.Start || timeline != strconv.FormatUint(uint64(m.Timeline), 10) {
		return nil, 0, fmt.Errorf("read backup_label: the changes are those since %q on timeline %q, not since %s on %d: %w", from, timeline, m.Start, m.Timeline, errProtocol)
	}
	return strings.NewReader(out.String()), int64(out.Len()), nil
}
