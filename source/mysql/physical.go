package mysql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lifeboat/snapshot"
)

// physical is a backup that mariadb-backup streams.
type physical struct {
	at       *server
	size     int64
	tool     *tool
	files    *archive
	pageSize int
	names    map[string]bool // that came
	info     bytes.Buffer    // where the binary log is
	about    bytes.Buffer    // what the program says of the backup
	manifest Manifest
	findings []snapshot.Finding
	lineage  lineage
}

// The files that the program adds, by their newer and older names.
var (
	infoFiles  = []string{"mariadb_backup_binlog_info", "xtrabackup_binlog_info"}
	aboutFiles = []string{"mariadb_backup_info", "xtrabackup_info"}
	lsnFiles   = []string{"mariadb_backup_checkpoints", "xtrabackup_checkpoints"}
)

// openPhysical starts the program.
func (s *Source) openPhysical(ctx context.Context, ses *session, how choice, of lineage) (snapshot.View, error) {
	settings, err := ses.variables()
	if err != nil {
		return nil, err
	}
	page, err := strconv.Atoi(settings["innodb_page_size"])
	if err != nil {
		return nil, fmt.Errorf("innodb_page_size %q: %w", settings["innodb_page_size"], err)
	}
	v := &physical{at: how.local.server, size: how.local.size, pageSize: page, names: map[string]bool{}, lineage: of}
	v.manifest = Manifest{Mode: Physical, Version: ses.version.text, User: v.at.user}
	v.manifest.keep(settings)
	temp := s.TempDir
	if temp == "" {
		temp = os.TempDir()
	}
	v.tool, err = begin(ctx, v.at, how.tool, "--no-defaults", "--backup", "--stream=xbstream", "--user="+v.at.user, "--socket="+v.at.addr, "--datadir="+how.local.data, "--target-dir="+temp)
	if err != nil {
		return nil, err
	}
	v.files = newArchive(v.tool.out, temp)
	return v, nil
}

// kept are the settings that a restored server must share with the original.
var kept = []string{"innodb_page_size", "innodb_data_file_path", "innodb_undo_tablespaces", "lower_case_table_names", "character_set_server", "collation_server", "innodb_checksum_algorithm", "max_allowed_packet",
	"explicit_defaults_for_timestamp", "default_storage_engine", "innodb_default_row_format", "innodb_strict_mode", "default_week_format", "div_precision_increment", "group_concat_max_len"}

func (m *Manifest) keep(settings map[string]string) {
	m.Settings = map[string]string{}
	for _, name := range kept {
		if value, ok := settings[name]; ok {
			m.Settings[name] = value
		}
	}
}

// inPages is the size of the pages of a file that the server changes page by page: -1 stands for that of InnoDB; 0 is no such file.
func inPages(name string) int {
	switch base := path.Base(name); {
	case strings.HasSuffix(base, ".ibd"), inFiles.MatchString(base):
		return -1
	case strings.HasSuffix(base, ".MAD"), strings.HasSuffix(base, ".MAI"):
		return ariaPage
	}
	return 0
}

// ariaPage is the default of aria_block_size.
const ariaPage = 8192

// inFiles are InnoDB's shared tablespaces.
var inFiles = regexp.MustCompile(`^(ibdata\d+|undo\d{3})$`)

// Size implements snapshot.View.
func (v *physical) Size() int64 { return v.size }

// Items implements snapshot.View.
func (v *physical) Items(ctx context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		err := v.items(ctx, func(i snapshot.Item) bool { return yield(i, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(snapshot.Item{}, v.failed(ctx, err))
		}
	}
}

// errStopped ends an iteration that nobody wants to go on.
var errStopped = errors.New("stopped")

func (v *physical) items(ctx context.Context, yield func(snapshot.Item) bool) error {
	for {
		name, size, body, err := v.files.next()
		if errors.Is(err, io.EOF) {
			return v.end(ctx)
		}
		if err != nil {
			return err
		}
		item := snapshot.Item{Name: path.Clean(name), Kind: snapshot.Stream, Size: size, Mode: 0o660, Body: said{body, v, ctx}}
		if page := inPages(name); page != 0 {
			item.Kind, item.PageSize = snapshot.Pages, page
			if page < 0 {
				item.PageSize = v.pageSize
			}
		}
		switch base := path.Base(name); {
		case strings.HasSuffix(base, ".isl"): // it would lead a restored server to the original's file
			return hinted{fmt.Errorf("%w: %s says that a table stands outside of the data directory", ErrLayout, item.Name), "take logical snapshots (mode: logical)"}
		case v.names[item.Name]:
			return fmt.Errorf("%w: %s comes twice", errArchive, item.Name)
		case slices.Contains(infoFiles, base):
			item.Body = io.TeeReader(item.Body, &limited{&v.info})
		case slices.Contains(aboutFiles, base):
			item.Body = io.TeeReader(item.Body, &limited{&v.about})
		}
		v.names[item.Name] = true
		if !yield(item) {
			return errStopped
		}
	}
}

// limited takes small files.
type limited struct{ *bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > 1<<20 {
		return 0, errors.New("larger than 1 MiB")
	}
	return l.Buffer.Write(b)
}

// said adds to an error of reading what the program said.
type said struct {
	io.Reader
	v   *physical
	ctx context.Context
}

func (s said) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.v.failed(s.ctx, err)
	}
	return n, err
}

// failed is why a backup failed: where its stream ended early the program knows better.
func (v *physical) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // what the program says then is only its consequence
	}
	if errors.Is(err, errArchive) {
		v.tool.close()
		err = hinted{fmt.Errorf("%w: the last that the program said: %s", err, v.tool.said.reason()), backupHint}
	}
	return describe("snapshot", v.at, err)
}

const backupHint = "see the server's log, and that it was not stopped meanwhile; `lifeboat doctor` runs the preflights; then repeat"

// end makes sure that the backup is whole.
func (v *physical) end(ctx context.Context) error {
	if err := v.tool.end(); err != nil {
		return hinted{err, backupHint}
	}
	has := func(name string) bool { return v.names[name] }
	if !slices.ContainsFunc(lsnFiles, has) || !has("ib_logfile0") {
		return fmt.Errorf("%w: it lacks the files that make the backup consistent", errArchive)
	}
	if f := strings.SplitN(strings.TrimSpace(v.info.String()), "\t", 3); len(f) >= 2 {
		at, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return fmt.Errorf("%w: the position of the binary log %q", errArchive, v.info.String())
		}
		v.manifest.File, v.manifest.Position = f[0], at
		v.findings = v.manifest.anchor(ctx, v.at, v.findings)
	}
	for line := range strings.Lines(v.about.String()) {
		if name, value, ok := strings.Cut(line, " = "); ok && name == "tool_version" {
			v.manifest.Tool = strings.TrimSpace(value)
		}
	}
	if v.manifest.File == "" {
		v.findings = append(v.findings, noBinlog)
	}
	return nil
}

var noBinlog = snapshot.Finding{Name: "the server keeps no binary log", Level: snapshot.Warn, Detail: "only snapshots can be restored, no point between them",
	Fix: "[mariadbd] log_bin = binlog, binlog_format = ROW, in the server's configuration; then restart it"}

// Summary implements snapshot.View.
func (v *physical) Summary() (s snapshot.Summary, err error) {
	return v.manifest.summary(v.findings, v.lineage)
}

// summary is that of a view which ends where the manifest says.
func (m *Manifest) summary(findings []snapshot.Finding, of lineage) (s snapshot.Summary, err error) {
	at, err := m.position(of.line)
	if err != nil {
		return s, err
	}
	s = snapshot.Summary{From: at, To: at, Findings: findings, Anew: of.anew}
	if dot := strings.LastIndexByte(m.File, '.'); dot > 0 {
		s.System = m.File[:dot]
	}
	s.Manifest, err = json.Marshal(m)
	return s, err
}

// Close implements snapshot.View.
func (v *physical) Close() error {
	v.tool.close()
	v.files.close()
	return nil
}
