package repository

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
)

// Noted is something that happened, for the journal.
type Noted struct {
	// Record has a type, its details, By and Happened; From and Reason where they are known, and Repository where the state directory could be another's
	// by the time it is recorded. Whoever records it adds the rest.
	Record journal.Record `json:"record"`
	// Document is a text that the details name by its SHA-256. It is sealed when it is recorded; until then it stands in plain in the state directory.
	Document []byte `json:"document,omitempty"`
}

const (
	outboxDir     = "outbox"
	damagedPrefix = "damaged-"
	maxReason     = 4 << 10 // bytes; a record of a drill host has room for it, however it is spelled
	// maxOutbox bounds all that waits to be recorded, in bytes: a host whose targets are all away must not fill its disk.
	maxOutbox  = 64 << 20
	notedMagic = "lifeboat noted 1 "
)

// notedName is the name of an entry: its place in the order, and what its record has as Note.
var notedName = regexp.MustCompile(`^([0-9]{12})-([0-9a-f]{32})\.json$`)

// errNotedDamaged is wrapped where an entry cannot be read, whoever tries.
var errNotedDamaged = errors.New("what was noted is damaged")

// Note keeps something that happened, durably, until a run that writes to the repository records it. It needs neither a target nor the lock of the
// state directory, and waits for nobody; several processes may note at once. It fails where there is no state directory (fs.ErrNotExist), and once
// too much waits to be recorded.
func Note(stateDir string, n Noted) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	n.Record.Note = hex.EncodeToString(id[:])
	n.Record.By, n.Record.From = journal.Plain(n.Record.By), journal.Plain(n.Record.From)
	b, err := n.encode()
	if err == nil {
		err = deposited(stateDir, n.Record.Note, b)
	}
	if err != nil {
		return fmt.Errorf("note what happened, for the audit log: %w", err)
	}
	return nil
}

// encode is an entry: a line with the SHA-256 of what follows, and that.
func (n Noted) encode() ([]byte, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return append([]byte(notedMagic+hex.EncodeToString(sum[:])+"\n"), body...), nil
}

func parseNoted(b []byte) (n Noted, err error) {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	sum := sha256.Sum256(body)
	if string(head) != notedMagic+hex.EncodeToString(sum[:]) {
		return n, fmt.Errorf("%w: its SHA-256 is another", errNotedDamaged)
	}
	if err := json.Unmarshal(body, &n); err != nil {
		return n, fmt.Errorf("%w: %w", errNotedDamaged, err)
	}
	if err := n.check(); err != nil {
		return n, fmt.Errorf("%w: %w", errNotedDamaged, err)
	}
	return n, nil
}

// check refuses what must not get into a journal in this way: there it would stand for ever, or stop everything behind it.
func (n Noted) check() error {
	r := n.record()
	digest, named := r.Document()
	switch {
	case r.By == "" || r.Happened == nil:
		return errors.New("nobody is named who did it, or no time")
	case r.Check() != nil || r.Drill == nil && r.Review == nil && r.Policy == nil && r.Restore == nil && r.Denied == nil:
		return fmt.Errorf("a %q is nothing that is noted, or lacks its details", n.Record.Type)
	case named != (n.Document != nil), named && !hasDigest(n.Document, digest):
		return errors.New("its document is not the one that it names")
	case len(r.Reason) > maxReason:
		return fmt.Errorf("its text has %d bytes, and %d are what there can be", len(r.Reason), maxReason)
	case len(n.Document) > crypto.MaxDocument:
		return fmt.Errorf("its document has %d bytes, and %d are what there can be", len(n.Document), crypto.MaxDocument)
	}
	return nil
}

// record is what an entry may say: everything else in a record is the writer's own.
func (n Noted) record() journal.Record { return n.Record.Noted() }

// deposited writes an entry behind all that stand in the outbox.
func deposited(stateDir, id string, b []byte) error {
	info, err := os.Stat(stateDir)
	if err != nil {
		return err
	}
	dir := filepath.Join(stateDir, outboxDir)
	if err := makeOutbox(dir, info); err != nil {
		return err
	}
	last, size, err := weigh(dir)
	if err != nil {
		return err
	}
	if size+int64(len(b)) > maxOutbox {
		return fmt.Errorf("%s holds %d bytes that could not be recorded yet, and no more than %d are kept: bring a target back; the next command that writes to it records them", dir, size, maxOutbox)
	}
	f, err := atomicfile.Create(filepath.Join(dir, fmt.Sprintf("%012d-%s.json", last+1, id)))
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := ownAs(info, f.Chown); err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Commit()
}

// makeOutbox makes the directory, durably. It is that of the state directory's owner, who records what root noted, too.
func makeOutbox(dir string, state fs.FileInfo) error {
	if info, err := os.Lstat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is no directory: move it away", dir)
		}
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := ownAs(state, func(uid, gid int) error { return os.Lchown(dir, uid, gid) }); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}

// ownAs gives to the owner of the state directory what root makes in it.
func ownAs(state fs.FileInfo, chown func(uid, gid int) error) error {
	st, ok := state.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || st.Uid == 0 {
		return nil
	}
	return chown(int(st.Uid), int(st.Gid))
}

// weigh returns the last place in the order of an outbox, and the size of everything in it.
func weigh(dir string) (last uint64, size int64, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if m := notedName.FindStringSubmatch(strings.TrimPrefix(e.Name(), damagedPrefix)); m != nil {
			n, _ := strconv.ParseUint(m[1], 10, 64) // twelve digits are a number
			last = max(last, n)
		}
		if info, err := e.Info(); err == nil { // or it was recorded just now
			size += info.Size()
		}
	}
	return last, size, err
}

// Unrecorded tells how much waits to be recorded, or cannot be, and since when.
func Unrecorded(stateDir string) (n int, oldest time.Time) {
	entries, err := os.ReadDir(filepath.Join(stateDir, outboxDir))
	if err != nil {
		return 0, oldest
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !notedName.MatchString(strings.TrimPrefix(e.Name(), damagedPrefix)) {
			continue
		}
		if n++; oldest.IsZero() || info.ModTime().Before(oldest) {
			oldest = info.ModTime()
		}
	}
	return n, oldest.UTC()
}

// entriesOf lists the entries of an outbox in their order.
func entriesOf(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries { // sorted by name
		if notedName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// readNoted reads an entry. Errors wrap errNotedDamaged where nobody ever can.
func readNoted(path string) (Noted, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Noted{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxOutbox {
		return Noted{}, fmt.Errorf("%w: it is no file, or too large", errNotedDamaged)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Noted{}, err
	}
	n, err := parseNoted(b)
	if m := notedName.FindStringSubmatch(filepath.Base(path)); err == nil && (m == nil || m[2] != n.Record.Note) {
		err = fmt.Errorf("%w: it stands under another name", errNotedDamaged)
	}
	return n, err
}

// hasDigest reports whether the SHA-256 of a text is the one that is given in hex.
func hasDigest(text []byte, digest string) bool {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]) == digest
}
