package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"lifeboat/restore"
	"lifeboat/snapshot"
)

// Layout says where a restored cluster goes, and whose it is.
type Layout struct {
	Dir         string            // the data directory
	Tablespaces map[string]string // by OID or by their directory at the original; others go beside Dir
	Owner       *restore.Owner    // nil: whoever restores
	Port        int               // 0: 5432
	Pause       bool              // stop at the point, read-only, instead of opening the cluster
	Reuse       bool              // Dir and the tablespaces' directories hold another state of the cluster, of which what is right is kept
}

// Sink puts a cluster back: a data directory that stands alone and knows nothing of the original's directories, archive,
// replicas or certificates.
type Sink struct {
	layout   Layout
	manifest Manifest
	main     *restore.Directory
	spaces   map[string]*restore.Directory // by OID
	where    map[string]string             // of them
	made     map[*restore.Directory]int
	files    []placed
	segments map[string]placed // of the log, by name

	replay *restore.Replay
	placed []string // tablespaces that are complete, while the rest is not
	left   []string // see Left
}

type placed struct {
	dir *restore.Directory // nil: it needs no place
	n   int
}

var (
	_ restore.Sink   = (*Sink)(nil)
	_ restore.Reuser = (*Sink)(nil)
)

// ParseManifest reads the manifest of a tree.
func ParseManifest(b []byte) (m Manifest, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read the manifest of the cluster: %w", err)
	}
	if m.Version < oldest || m.SegmentSize <= 0 || m.Timeline == 0 {
		return m, fmt.Errorf("read the manifest of the cluster: version %d, timeline %d, segments of %d bytes", m.Version, m.Timeline, m.SegmentSize)
	}
	return m, nil
}

// NewSink prepares the directories for size bytes; all of them must be absent or empty, unless they are reused. Errors wrap restore.ErrRefused where
// nothing was touched.
//
// The log of replay is put into the data directory, with the settings that stop where it says.
func NewSink(l Layout, m Manifest, size int64, replay *restore.Replay) (_ *Sink, err error) {
	for _, o := range replay.Log {
		size += int64(o.To.Offset - o.From.Offset)
	}
	s := &Sink{layout: l, manifest: m, replay: replay, segments: map[string]placed{}, spaces: map[string]*restore.Directory{}, where: map[string]string{}, made: map[*restore.Directory]int{}}
	if s.layout.Dir, err = filepath.Abs(l.Dir); err != nil {
		return nil, err
	}
	if err := s.place(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if l.Reuse {
		return s, s.takeOver(size)
	}
	if s.main, err = restore.NewDirectory(s.layout.Dir, size); err != nil {
		return nil, err
	}
	s.main.Owner, s.main.Key = l.Owner, key
	for oid, dir := range s.where {
		if s.spaces[oid], err = restore.NewDirectory(dir, 0); err != nil {
			delete(s.spaces, oid)
			return nil, err
		}
		if err := s.own(oid); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// own gives a tablespace's directory to its owner.
func (s *Sink) own(oid string) error {
	l, dir := s.layout, s.where[oid]
	s.spaces[oid].Owner = l.Owner
	if l.Owner != nil && filepath.Dir(dir) == s.beside() {
		if err := os.Lchown(s.beside(), l.Owner.UID, l.Owner.GID); err != nil {
			return fmt.Errorf("restore to %s: %w", dir, err)
		}
	}
	return nil
}

// place decides where each tablespace goes: never to its original path by itself.
func (s *Sink) place() error {
	unused := maps.Clone(s.layout.Tablespaces)
	for _, t := range s.manifest.Tablespaces {
		oid := fmt.Sprint(t.OID)
		dir := filepath.Join(s.beside(), oid)
		for _, name := range []string{oid, t.Location} {
			if to, ok := s.layout.Tablespaces[name]; ok {
				dir = to
				delete(unused, name)
			}
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		s.where[oid] = abs
	}
	for name := range unused {
		return fmt.Errorf("%w: the cluster has no tablespace %q: it has %s", restore.ErrRefused, name, s.tablespaces())
	}
	return nil
}

// beside is where tablespaces go that have no other place.
func (s *Sink) beside() string { return s.layout.Dir + "-tablespaces" }

func (s *Sink) tablespaces() string {
	var out []string
	for _, t := range s.manifest.Tablespaces {
		out = append(out, fmt.Sprintf("%d (%s)", t.OID, t.Location))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// Work is a directory for temporary files of the restore.
func (s *Sink) Work() string { return s.main.Work() }

// original is where the files stand that would tie the cluster to the original's surroundings.
const original = ours + "/original/"

// written are the files of a data directory that a restore writes itself.
var written = []string{"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", "recovery.signal", "standby.signal"}

// home is the directory where a file of the snapshot goes, and its name there; nil for one whose place is taken by a link.
func (s *Sink) home(f snapshot.File) (*restore.Directory, snapshot.File) {
	dir := s.main
	if rest, ok := strings.CutPrefix(f.Name, "pg_tblspc/"); ok {
		oid, name, below := strings.Cut(rest, "/")
		if d := s.spaces[oid]; d != nil {
			if !below {
				return nil, f
			}
			dir, f.Name = d, name
		}
	}
	if dir == s.main && slices.Contains(written, f.Name) {
		f.Name = original + f.Name
	}
	return dir, f
}

// Create implements restore.Sink.
func (s *Sink) Create(f snapshot.File) error {
	dir, f := s.home(f)
	if dir == nil {
		s.files = append(s.files, placed{})
		return nil
	}
	if dir == s.main && strings.HasPrefix(f.Name, "pg_wal/") {
		s.segments[f.Name] = placed{dir, s.made[dir]}
	}
	s.files = append(s.files, placed{dir, s.made[dir]})
	s.made[dir]++
	return dir.Create(f)
}

// walWriter puts log at its place in the segments of the data directory.
type walWriter struct {
	*Sink
	at snapshot.Pos
}

func (w *walWriter) Write(b []byte) (int, error) {
	size := uint64(w.manifest.SegmentSize)
	for done := 0; done < len(b); {
		name := "pg_wal/" + segmentName(uint32(w.at.Line), lsn(w.at.Offset), int64(size))
		p, ok := w.segments[name]
		if !ok {
			p = placed{w.main, w.made[w.main]}
			w.made[w.main]++
			w.segments[name] = p
			if err := w.main.Create(snapshot.File{Name: name, Kind: snapshot.Stream, Size: int64(size), Mode: 0o600}); err != nil {
				return done, err
			}
		}
		in := w.at.Offset % size
		n := min(uint64(len(b)-done), size-in)
		if err := p.dir.WriteAt(p.n, b[done:done+int(n)], int64(in)); err != nil {
			return done, err
		}
		done += int(n)
		w.at.Offset += n
	}
	return len(b), nil
}

// WriteAt implements restore.Sink.
func (s *Sink) WriteAt(n int, b []byte, off int64) error {
	return s.files[n].dir.WriteAt(s.files[n].n, b, off)
}

// Finish implements restore.Sink.
func (s *Sink) Finish(ctx context.Context) error {
	for _, b := range s.replay.Branches {
		name := fmt.Sprintf("pg_wal/%08X.history", b.At.Line)
		if _, ok := s.segments[name]; ok {
			continue
		}
		if err := s.main.Add(name, b.Text, 0o600); err != nil {
			return err
		}
		s.made[s.main]++
	}
	for _, o := range s.replay.Log {
		if err := s.replay.Reader.Log(ctx, o, &walWriter{s, o.From}); err != nil {
			return err
		}
	}
	if err := s.main.Create(snapshot.File{Name: ours, Kind: snapshot.Dir, Mode: 0o700}); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"postgresql.conf":      s.configuration(),
		"postgresql.auto.conf": s.recovery(),
		"pg_hba.conf":          "# The socket stands in the data directory, which only its owner may enter.\nlocal all all trust\nlocal replication all trust\n",
		"pg_ident.conf":        "",
		"recovery.signal":      "",
	} {
		if err := s.main.Add(name, text, 0o600); err != nil {
			return err
		}
	}
	for oid, d := range s.spaces {
		if !s.layout.Reuse {
			s.placed = append(s.placed, s.where[oid])
		}
		if err := d.Finish(ctx); err != nil {
			return err
		}
		if err := s.main.Link(path.Join("pg_tblspc", oid), s.where[oid]); err != nil {
			return err
		}
	}
	if err := s.main.Finish(ctx); err != nil {
		return err
	}
	s.placed = nil
	return os.Chmod(s.layout.Dir, 0o700)
}

// configuration is a postgresql.conf with nothing of the original but the limits without which replay would stop.
func (s *Sink) configuration() string {
	var b strings.Builder
	port := s.layout.Port
	if port == 0 {
		port = 5432
	}
	fmt.Fprintf(&b, `# Written by lifeboat restore, so that this cluster starts beside the original without touching it.
# The original's configuration stands in %s, where it was in the data directory.
listen_addresses = ''              # name addresses here to let others in, and change pg_hba.conf
unix_socket_directories = '.'      # the data directory
port = %d
archive_mode = off
synchronous_standby_names = ''
max_logical_replication_workers = 0
`, strings.TrimSuffix(original, "/"), port)
	for _, name := range kept[:5] {
		if v := s.manifest.Settings[name]; v != "" && strings.Trim(v, "0123456789") == "" {
			fmt.Fprintf(&b, "%s = %s\n", name, v)
		}
	}
	return b.String()
}

// recovery replays the log that stands in pg_wal and opens a timeline of its own. There is a target only where the log goes on
// behind the point: at the end of the log no record follows that could reach one.
func (s *Sink) recovery() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by lifeboat restore. All log that is needed stands in pg_wal.\nrestore_command = '/bin/false'\nrecovery_target_timeline = '%d'\n", s.replay.End.Line)
	if r := s.replay; r.Stop != nil {
		fmt.Fprintf(&b, "recovery_target_lsn = '%s'\nrecovery_target_inclusive = %t\n", lsn(*r.Stop), r.Through)
		action := "promote"
		if s.layout.Pause {
			action = "pause"
		}
		fmt.Fprintf(&b, "recovery_target_action = '%s'\n", action)
	}
	return b.String()
}

// Close removes what is not finished, or gives back what was reused and not changed: the data directory last.
func (s *Sink) Close() error {
	var errs []error
	for _, d := range s.spaces {
		errs = append(errs, d.Close())
	}
	if s.main != nil {
		errs = append(errs, s.main.Close())
	}
	for _, dir := range s.placed { // it was empty before: repeating finds it so
		errs = append(errs, os.RemoveAll(dir))
	}
	if len(s.placed) > 0 {
		_ = os.Remove(s.beside()) // only if it is empty
	}
	return errors.Join(errs...)
}
