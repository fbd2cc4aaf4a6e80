package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"regexp"
	"slices"
	"strconv"

	"lifeboat/snapshot"
)

// The files of a logical snapshot: SQL, as mariadb-dump writes it. The first has all databases in one state; accounts are no part of a transaction, and come by themselves.
const (
	dataFile     = "databases.sql"
	accountsFile = "accounts.sql"
)

// systemDatabases are the server's own.
var systemDatabases = []string{"mysql", "information_schema", "performance_schema", "sys"}

// logical is a dump. It locks nothing: a lock on definitions would wait for one who changes a table, and the dump for that table, and nobody would go on. A table whose definition changes
// meanwhile makes it fail.
type logical struct {
	ses       *session
	stop      func() // of the session's context
	dump      string // program
	databases []string
	before    map[[2]string]string // definitions, as the dump begins
	tool      *tool                // that runs
	head      []byte
	manifest  Manifest
	findings  []snapshot.Finding
	lineage   lineage
}

// openLogical looks what there is to dump.
func (s *Source) openLogical(ctx context.Context, from *session, how choice, of lineage) (_ snapshot.View, err error) {
	own, stop := context.WithCancel(ctx)
	v := &logical{dump: how.tool, stop: stop, lineage: of}
	defer func() {
		if err != nil {
			_ = v.Close() // nothing is lost with it
		}
	}()
	if v.ses, err = dial(own, from.at); err != nil {
		return nil, err
	}
	if _, err := v.ses.rows("SET SESSION wait_timeout = 31536000, time_zone = '+00:00'"); err != nil {
		return nil, err
	}
	rows, err := v.ses.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if !slices.Contains(systemDatabases, r[0]) {
			v.databases = append(v.databases, r[0])
		}
	}
	if v.before, err = v.definitions(); err != nil {
		return nil, err
	}
	if others, err := v.ses.value(notTransactional); err != nil {
		return nil, err
	} else if others != "0" {
		v.findings = append(v.findings, snapshot.Finding{Name: "not of one moment", Level: snapshot.Warn, Detail: others + " tables are not of InnoDB: each is in the snapshot as it was when it was read",
			Fix: "ALTER TABLE <table> ENGINE = InnoDB; or take physical snapshots"})
	}
	settings, err := v.ses.variables()
	if err != nil {
		return nil, err
	}
	v.manifest = Manifest{Mode: Logical, Version: v.ses.version.text, Tool: v.ses.version.series(), User: from.at.user}
	v.manifest.keep(settings)
	if settings["log_bin"] != "ON" {
		v.findings = append(v.findings, noBinlog)
	}
	if how.why != "" {
		v.findings = append(v.findings, snapshot.Finding{Name: "a logical snapshot was taken", Level: snapshot.OK, Detail: how.why})
	}
	return v, nil
}

// Size implements snapshot.View: nobody knows.
func (v *logical) Size() int64 { return 0 }

// Items implements snapshot.View.
func (v *logical) Items(ctx context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		for _, f := range []struct {
			name string
			args []string
		}{{accountsFile, []string{"--system=users,servers,udfs,timezones", "--replace"}}, {dataFile, v.data()}} {
			if f.name == dataFile && len(v.databases) == 0 {
				continue
			}
			body, err := v.begin(ctx, f.name, f.args)
			if err != nil {
				yield(snapshot.Item{}, describe("snapshot", v.ses.at, err))
				return
			}
			if !yield(snapshot.Item{Name: f.name, Kind: snapshot.Stream, Size: -1, Mode: 0o600, Body: body}, nil) {
				return
			}
		}
	}
}

// data are the arguments for the dump of all databases in one state, with their rows in an order that stays.
func (v *logical) data() []string {
	args := []string{"--single-transaction", "--quick", "--routines", "--triggers", "--events", "--hex-blob", "--order-by-primary"}
	if !slices.Contains(v.findings, noBinlog) {
		args = append(args, "--master-data=2")
	}
	return append(append(args, "--databases", "--"), v.databases...)
}

func (v *logical) begin(ctx context.Context, name string, args []string) (io.Reader, error) {
	all := append([]string{"--no-defaults", "--user=" + v.ses.at.user, "--default-character-set=utf8mb4", "--skip-dump-date", "--max-allowed-packet=1G", "--net-buffer-length=8M"}, v.ses.arguments()...)
	t, err := begin(ctx, v.ses.at, v.dump, append(all, args...)...)
	if err != nil {
		return nil, err
	}
	v.tool = t
	return &dumped{v: v, ctx: ctx, tool: t, data: name == dataFile}, nil
}

// arguments lead a program of the server to the server of a session, as safely.
func (s *session) arguments() []string {
	if s.at.network == "unix" {
		return []string{"--protocol=SOCKET", "--socket=" + s.at.addr}
	}
	host, port, _ := net.SplitHostPort(s.at.addr) // it was joined
	args := []string{"--protocol=TCP", "--host=" + host, "--port=" + port}
	switch {
	case !s.secure:
		return append(args, "--skip-ssl")
	case s.at.ca != "":
		args = append(args, "--ssl-ca="+s.at.ca)
	}
	args = append(args, "--ssl")
	if s.at.verified {
		args = append(args, "--ssl-verify-server-cert")
	}
	return args
}

// dumped is what a program writes, which is whole only if it says so.
type dumped struct {
	v    *logical
	ctx  context.Context
	tool *tool
	data bool
	last []byte
	done bool
}

// complete is the last line of a dump.
const complete = "-- Dump completed"

func (d *dumped) Read(b []byte) (int, error) {
	if d.done {
		return 0, io.EOF
	}
	n, err := d.tool.out.Read(b)
	if d.data {
		d.v.head = append(d.v.head, b[:min(n, maxHead-len(d.v.head))]...)
	}
	d.last = append(d.last, b[max(0, n-2*len(complete)):n]...)
	d.last = d.last[max(0, len(d.last)-2*len(complete)):]
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	d.done = true
	if err := d.end(); err != nil {
		if d.ctx.Err() != nil {
			err = d.ctx.Err() // what the program says then is only its consequence
		}
		return n, describe("snapshot", d.v.ses.at, err)
	}
	return n, io.EOF
}

// end makes sure that a dump is whole.
func (d *dumped) end() error {
	if err := d.tool.end(); err != nil {
		return hinted{err, backupHint}
	}
	if !bytes.HasSuffix(bytes.TrimSpace(d.last), []byte(complete)) {
		return hinted{fmt.Errorf("%w: it does not end as it should", errArchive), backupHint}
	}
	if !d.data {
		return nil
	}
	if err := d.v.unchanged(); err != nil {
		return err
	}
	return d.v.located(d.ctx)
}

// definitions says of each table something that is another once its definition, or the file of its rows, is another.
func (v *logical) definitions() (map[[2]string]string, error) {
	rows, err := v.ses.rows(`SELECT t.TABLE_SCHEMA, t.TABLE_NAME, CONCAT_WS(' ', t.ENGINE, t.CREATE_TIME, t.TABLE_COLLATION, t.CREATE_OPTIONS) FROM information_schema.TABLES t
		WHERE t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND t.TABLE_SCHEMA NOT IN (` + systemList + `)`)
	if err != nil {
		return nil, err
	}
	out := map[[2]string]string{}
	for _, r := range rows {
		out[[2]string{r[0], r[1]}] = r[2]
	}
	return out, nil
}

// unchanged makes sure that no table got another definition while it may have been read: its rows would be of another moment than that, and than all others.
func (v *logical) unchanged() error {
	after, err := v.definitions()
	if err != nil {
		return err
	}
	for name, was := range v.before {
		if is, ok := after[name]; ok && is != was {
			return hinted{fmt.Errorf("the definition of table %s changed while the snapshot was taken", qualified(name[:]...)), "repeat it when nobody changes tables; physical snapshots withstand that"}
		}
	}
	return nil
}

// maxHead is how much of the beginning of a dump is kept, where its position stands, bytes.
const maxHead = 64 << 10

// saidAt is what a dump says of its position, in a comment.
var saidAt = regexp.MustCompile(`(?m)^-- CHANGE MASTER TO MASTER_LOG_FILE='([^'\n]+)', MASTER_LOG_POS=(\d+);$`)

// located finds the position of the dump.
func (v *logical) located(ctx context.Context) error {
	if slices.Contains(v.findings, noBinlog) {
		return nil
	}
	at := saidAt.FindSubmatch(v.head)
	if at == nil {
		return fmt.Errorf("%w: it does not say at which position of the binary log it was taken", errArchive)
	}
	position, err := strconv.ParseUint(string(at[2]), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: position %s", errArchive, at[2])
	}
	v.manifest.File, v.manifest.Position = string(at[1]), position
	v.findings = v.manifest.anchor(ctx, v.ses.at, v.findings)
	return nil
}

// Summary implements snapshot.View.
func (v *logical) Summary() (s snapshot.Summary, err error) {
	return v.manifest.summary(v.findings, v.lineage)
}

// Close implements snapshot.View.
func (v *logical) Close() error {
	if v.tool != nil {
		v.tool.close()
	}
	if v.ses != nil {
		v.ses.close()
	}
	v.stop()
	return nil
}
