package postgres

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
	"lifeboat/verify"
)

// Manifest is what a snapshot's tree says about its cluster.
type Manifest struct {
	System      string            `json:"system"` // identifier, decimal
	Version     int               `json:"version"`
	Timeline    uint32            `json:"timeline"`
	Start       string            `json:"start"` // positions in the log, as PostgreSQL prints them
	End         string            `json:"end"`
	SegmentSize int64             `json:"segment_size"`
	Tablespaces []tablespace      `json:"tablespaces,omitempty"`
	Settings    map[string]string `json:"settings"`
	User        string            `json:"user"`              // the role that took the snapshot
	Damaged     []string          `json:"damaged,omitempty"` // what the server found, in its words
	Unread      []string          `json:"unread,omitempty"`  // configuration that the role may not read
	EndDigest   string            `json:"end_digest"`        // SHA-256 (hex) of the log from the beginning of the page before End to End
	Canary      *verify.Canary    `json:"canary,omitempty"`
}

// view is a base backup that is being read.
type view struct {
	cfg      *pgconn.Config
	slot     *session
	slotName string
	backup   *baseBackup
	settings map[string]string
	config   *configuration
	digest   hash.Hash
	proven   bool          // the server's log leads from the prior snapshot to here
	since    *Manifest     // of the snapshot whose changes the server sends; nil: it sends everything
	anew     bool          // no log leads here from the prior snapshot
	budget   time.Duration // for a baseline; 0: none is taken
	canary   *verify.Canary
	caged    snapshot.Pos // where the log ended behind the canary
	damaged  []string
	findings []snapshot.Finding
}

// Size implements snapshot.View.
func (v *view) Size() int64 { return v.backup.size }

// Summary implements snapshot.View.
func (v *view) Summary() (s snapshot.Summary, err error) {
	line := uint64(v.backup.timeline)
	s = snapshot.Summary{From: snapshot.Pos{Line: line, Offset: uint64(v.backup.start)}, To: snapshot.Pos{Line: line, Offset: uint64(v.backup.end)},
		System: strconv.FormatUint(v.backup.system, 10), Findings: v.findings, Anew: v.anew}
	if v.canary != nil && (line != v.caged.Line || uint64(v.backup.end) < v.caged.Offset) {
		v.canary = nil // two connections reached two servers of one cluster
		s.Findings = append(s.Findings, snapshot.Finding{Name: "the canary is not in the snapshot", Level: snapshot.Warn, Detail: "it was written to a server that is ahead of the one that was backed up",
			Fix: "let the dsn lead to the primary alone, for instance with target_session_attrs=read-write"})
	}
	for _, what := range v.damaged {
		s.Findings = append(s.Findings, snapshot.Finding{Name: "damaged", Level: snapshot.Fail, Detail: what})
	}
	m := Manifest{System: strconv.FormatUint(v.backup.system, 10), Version: v.backup.version, Timeline: v.backup.timeline, Start: v.backup.start.String(),
		End: v.backup.end.String(), SegmentSize: v.backup.segmentSize, Settings: v.settings, User: v.cfg.User, Damaged: v.damaged, Unread: v.config.unread, EndDigest: hex.EncodeToString(v.digest.Sum(nil)),
		Canary: v.canary}
	for _, t := range v.backup.tablespaces {
		if t.OID != 0 {
			m.Tablespaces = append(m.Tablespaces, t)
		}
	}
	s.Manifest, err = json.Marshal(m)
	return s, err
}

// Close implements snapshot.View.
func (v *view) Close() error {
	if v.backup != nil {
		v.backup.close()
	}
	if v.slot != nil {
		v.slot.close()
	}
	return nil
}

// Items implements snapshot.View.
func (v *view) Items(ctx context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		emit := func(i snapshot.Item) error {
			if !yield(i, nil) {
				return errStopped
			}
			return nil
		}
		err := v.config.emit(emit)
		if err == nil {
			err = v.baseline(ctx, emit) // behind the position at which the base backup began
		}
		if err == nil {
			err = v.files(emit)
		}
		if err == nil {
			err = v.log(emit)
		}
		if err != nil && !errors.Is(err, errStopped) {
			if ctx.Err() != nil {
				err = ctx.Err() // what the connections say then is only its consequence
			}
			yield(snapshot.Item{}, describe("snapshot", v.cfg, err))
		}
	}
}

// errStopped ends an iteration that nobody wants to go on.
var errStopped = errors.New("stopped")

// files yields the content of all archives.
func (v *view) files(emit func(snapshot.Item) error) error {
	for {
		oid, err := v.backup.archive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		prefix := ""
		if oid != 0 {
			prefix = fmt.Sprintf("pg_tblspc/%d/", oid)
			if err := emit(snapshot.Item{Name: strings.TrimSuffix(prefix, "/"), Kind: snapshot.Dir, Mode: 0o700}); err != nil {
				return err
			}
		}
		if err := v.archive(oid, prefix, emit); err != nil {
			return err
		}
	}
	damaged, err := v.backup.finish()
	v.damaged = damaged
	return err
}

func (v *view) archive(oid uint32, prefix string, emit func(snapshot.Item) error) error {
	for t := tar.NewReader(described{v.backup, v.cfg}); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the base backup: %w", err)
		}
		name := path.Clean(prefix + h.Name)
		item := snapshot.Item{Name: name, Kind: snapshot.Stream, Size: h.Size, Mode: h.FileInfo().Mode().Perm(), ModTime: h.ModTime, Body: t}
		if oid == 0 && (name == ours || strings.HasPrefix(name, ours+"/")) {
			continue // what a restore left; the tree has its own
		}
		switch whole, changes := v.changes(name); {
		case changes:
			item.Name, item.Kind, item.PageSize = whole, snapshot.Pages, v.backup.blockSize
			if err := v.backup.delta(&item, t); err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
		case name == "backup_label" && v.since != nil:
			if item.Body, item.Size, err = v.since.label(t, h.Size); err != nil {
				return err
			}
		case h.Typeflag == tar.TypeDir:
			item.Kind, item.Size, item.Body = snapshot.Dir, 0, nil
		case h.Typeflag == tar.TypeSymlink && path.Dir(name) == "pg_tblspc":
			continue // the tablespace has an archive of its own
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("read the base backup: %s is no file (type %q): %w", h.Name, h.Typeflag, errProtocol)
		case name == "tablespace_map":
			// Beside backup_label it would link a restored cluster to the original's directories.
			item.Name = ours + "/tablespace_map"
		case inPages.MatchString(name) && h.Size > 0 && h.Size%int64(v.backup.blockSize) == 0:
			item.Kind, item.PageSize = snapshot.Pages, v.backup.blockSize
		}
		if err := emit(item); err != nil {
			return err
		}
	}
}

// described makes what a server says instead of an answer an *Error: who reads a file knows no server.
type described struct {
	r   io.Reader
	cfg *pgconn.Config
}

func (d described) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = describe("snapshot", d.cfg, err)
	}
	return n, err
}

// inPages are the files that the server changes page by page: relations with their forks and the status of transactions.
var inPages = regexp.MustCompile(`^(global|base/\d+|pg_tblspc/\d+/PG_[^/]+/\d+)/(t\d+_)?\d+(_(fsm|vm|init))?(\.\d+)?$|^(pg_xact|pg_commit_ts|pg_multixact/(members|offsets)|pg_subtrans)/[0-9A-F]+$`)

// log yields the segments that make the files consistent: whole files, zero where the snapshot needs nothing.
func (v *view) log(emit func(snapshot.Item) error) error {
	b := v.backup
	if b.timeline > 1 {
		row, err := v.slot.row(fmt.Sprintf("TIMELINE_HISTORY %d", b.timeline), 2)
		if err != nil {
			return err
		}
		if err := emit(snapshot.Item{Name: fmt.Sprintf("pg_wal/%08X.history", b.timeline), Kind: snapshot.Stream, Size: int64(len(row[1])), Mode: 0o600,
			Body: strings.NewReader(row[1])}); err != nil {
			return err
		}
	}
	size := lsn(b.segmentSize)
	first := b.start / size * size
	w, err := v.slot.startWAL(v.slotName, first, b.timeline)
	if err != nil {
		return err
	}
	v.digest = sha256.New()
	w.sum, w.sumFrom = v.digest, lastPage(b.end)
	for at := first; at < b.end; at += size {
		r := io.Reader(described{&segment{wal: w, end: b.end, left: b.segmentSize}, v.cfg})
		if at == first {
			// Recovery reads the first page of a segment, and then from the start of the backup on.
			r = io.MultiReader(io.LimitReader(r, walPage), &blank{r, int64(b.start/walPage*walPage) - int64(at) - walPage}, r)
		}
		if err := emit(snapshot.Item{Name: "pg_wal/" + segmentName(b.timeline, at, b.segmentSize), Kind: snapshot.Pages, PageSize: walPage,
			Size: b.segmentSize, Mode: 0o600, Body: r}); err != nil {
			return err
		}
	}
	return nil
}

// segment is the log of one segment, and zeros behind its end.
type segment struct {
	wal  *walStream
	end  lsn
	left int64
}

func (s *segment) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.left)]
	var n int
	var err error
	if s.wal.at < s.end {
		n, err = s.wal.Read(p[:min(lsn(len(p)), s.end-s.wal.at)])
	} else {
		n = len(p)
		clear(p)
	}
	s.left -= int64(n)
	return n, err
}

// blank reads left bytes of r and gives zeros instead.
type blank struct {
	r    io.Reader
	left int64
}

func (b *blank) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	clear(p[:n])
	b.left -= int64(n)
	return n, err
}
