package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"
	"github.com/spf13/cobra"

	"lifeboat/chunkstore"
	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/internal/bandwidth"
	"lifeboat/internal/clock"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/source/postgres"
	"lifeboat/source/sqlite"
	"lifeboat/target"
	"lifeboat/target/local"
	"lifeboat/target/sftp"
)

// errTrust is wrapped where a copy is not of the repository that was expected.
var errTrust = errors.New("this is not the repository you trust")

// access is how a command that reads finds a copy and opens it.
type access struct {
	from     string
	identity string
	trust    string
}

func (x *access) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&x.from, "from", "", "read this copy: a target's `NAME`, or a URL such as file:///backup")
	f.StringVar(&x.identity, "identity", "", "identity `FILE` that opens the repository (default $LIFEBOAT_IDENTITY_FILE)")
	f.StringVar(&x.trust, "trust", "", "refuse any repository but the one with this `FINGERPRINT`")
}

// openTarget opens a configured target; create makes its directory.
func (a *app) openTarget(ctx context.Context, t config.Target, create bool) (target.Target, error) {
	switch t.Type {
	case config.Local:
		if create {
			return local.Create(t.Path)
		}
		return local.Open(t.Path)
	case config.SFTP:
		return openSFTP(ctx, t, create, a.limit(t))
	case config.S3:
		return openS3(ctx, t, a.limit(t))
	}
	return nil, fmt.Errorf("targets of type %s are not in this version", t.Type)
}

// limit holds all connections of a target, whichever part of the program opened it.
func (a *app) limit(t config.Target) *bandwidth.Limit {
	if a.unlimited {
		return nil
	}
	l, _ := a.limits.LoadOrStore(t.Name, bandwidth.New(t.Bandwidth, clock.System))
	return l.(*bandwidth.Limit)
}

// copies opens all configured targets; one that cannot be opened carries its error.
func (a *app) copies(ctx context.Context, create bool) ([]*repository.Copy, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if len(cfg.Targets) == 0 {
		return nil, usagef("no targets are configured: add one under targets, such as disk: {type: local, path: /backup/lifeboat}")
	}
	out := make([]*repository.Copy, len(cfg.Targets))
	var wait sync.WaitGroup
	for i, t := range cfg.Targets {
		wait.Go(func() {
			opened, err := a.openTarget(ctx, t, create)
			out[i] = &repository.Copy{Name: t.Name, Target: opened, Err: err}
		})
	}
	if wait.Wait(); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return out, apart(cfg, out)
}

// apart refuses targets that share a place: two copies on one disk are one, and what is inside another is overwritten with it.
func apart(cfg *config.Config, copies []*repository.Copy) error {
	places := []place{{"state_dir", resolved(cfg.StateDir)}}
	for i, t := range cfg.Targets {
		name := "target " + t.Name
		switch t.Type {
		case config.Local:
			places = append(places, place{name, resolved(t.Path)})
		case config.S3:
			places = append(places, place{name, placeS3(t)})
		case config.SFTP:
			places = append(places, place{name, placeSFTP(t)})
			if opened, ok := copies[i].Target.(*sftp.Target); ok {
				places = append(places, place{name, opened.Place()})
			}
		}
	}
	for i, p := range places {
		for _, q := range places[:i] {
			if p.name != q.name && (within(p.path, q.path) || within(q.path, p.path)) {
				return usagef("%s (%s) and %s (%s) are one inside the other: give each a directory of its own", q.name, q.path, p.name, p.path)
			}
		}
	}
	return nil
}

type place struct{ name, path string }

// resolved is a path without symbolic links, as far as it exists.
func resolved(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for dir, rest := abs, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if r, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(r, rest)
		}
		if dir == filepath.Dir(dir) {
			return abs
		}
	}
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// outside refuses to restore into a copy or the state directory: what nobody knows there is taken for garbage, and plain data
// does not belong there.
func (a *app) outside(x access, to string) error {
	places := []place{}
	if cfg, err := a.config(); err == nil {
		places = append(places, place{"the state directory", resolved(cfg.StateDir)})
		for _, t := range cfg.Targets {
			if t.Type == config.Local {
				places = append(places, place{"target " + t.Name, resolved(t.Path)})
			}
		}
	}
	if u, err := url.Parse(x.from); err == nil && u.Scheme == "file" {
		places = append(places, place{"the copy", resolved(u.Path)})
	}
	for _, p := range places {
		if within(resolved(to), p.path) {
			return fmt.Errorf("%w: restore to %s: it is inside %s (%s): choose another place", restore.ErrRefused, to, p.name, p.path)
		}
	}
	return nil
}

// hostConfig is the configuration of the backup host.
func (a *app) hostConfig(ctx context.Context, create bool) (repository.Config, error) {
	copies, err := a.copies(ctx, create)
	if err != nil {
		return repository.Config{}, err
	}
	return repository.Config{StateDir: a.cfg.StateDir, Copies: copies, Now: a.now, By: by()}, nil
}

// host opens the repository for writing.
func (a *app) host(ctx context.Context) (*repository.Host, error) {
	c, err := a.hostConfig(ctx, false)
	if err != nil {
		return nil, err
	}
	return repository.OpenHost(ctx, c)
}

// locate opens the targets that a command may read from: the one that --from names, or all that answer.
func (a *app) locate(ctx context.Context, x access) (found []*repository.Copy, err error) {
	if strings.Contains(x.from, "://") {
		t, err := openURL(ctx, x.from)
		return []*repository.Copy{{Name: x.from, Target: t}}, err
	}
	copies, err := a.copies(ctx, false)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, c := range copies {
		if x.from != "" && c.Name != x.from {
			continue
		}
		if c.Err == nil {
			found = append(found, c)
		} else {
			errs = append(errs, fmt.Errorf("target %s: %w", c.Name, c.Err))
		}
	}
	if len(found) == 0 && len(errs) == 0 {
		return nil, usagef("there is no target %q in the configuration", x.from)
	}
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

func openURL(ctx context.Context, s string) (target.Target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, usagef("--from %q: %w", s, err)
	}
	switch u.Scheme {
	case "sftp":
		return openSFTPURL(ctx, s, u)
	case "s3":
		return openS3URL(ctx, s, u)
	case "file":
	default:
		return nil, usagef("--from %q: %s is not in this version, only file:///path, sftp://user@host/path and s3://bucket/prefix", s, u.Scheme)
	}
	if u.Host != "" || u.Path == "" || u.RawQuery != "" {
		return nil, usagef("--from %q: write file:///path, with three slashes", s)
	}
	return local.Open(u.Path)
}

// reader opens the journal of a copy and checks that it is the trusted repository: the copy that --from names, or else the one
// that reaches furthest.
func (a *app) reader(ctx context.Context, x access) (string, *repository.Reader, error) {
	copies, err := a.locate(ctx, x)
	if err != nil {
		return "", nil, err
	}
	readers, failed := openAll(ctx, copies)
	var name string
	var best *repository.Reader
	var names []string // of all that were read
	var all []*repository.Reader
	var errs []error
	for i, c := range copies {
		r, err := readers[i], failed[i]
		if err == nil && len(copies) > 1 {
			err = a.trust(x, r)
		}
		if ctx.Err() != nil {
			return "", nil, ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
			continue
		}
		names, all = append(names, c.Name), append(all, r)
		if best == nil || r.Chain.Len() > best.Chain.Len() {
			name, best = c.Name, r
		}
	}
	if best == nil {
		return "", nil, errors.Join(errs...)
	}
	for _, err := range errs {
		a.note("lifeboat: warning: %v: reading %s", err, name)
	}
	a.siblings(best, name, names, all)
	if best.Broken != nil {
		a.note("lifeboat: warning: %s: %v: what stands before the break is used; run `lifeboat check`", name, best.Broken)
	}
	if len(copies) == 1 {
		err = a.trust(x, best)
	}
	if head, herr := a.head(); err == nil && herr == nil && x.from == "" && best.Chain.Len() < head.Seq {
		a.note("lifeboat: warning: %s ends with record %d, and this host knows %d: what is newest is missing", name, best.Chain.Len(), head.Seq)
	}
	return name, best, err
}

// straggle is how long the other copies have to answer once one did.
const straggle = 10 * time.Second

// openAll reads the journals of all copies, at once. One that does not answer holds up the others for a moment only.
func openAll(ctx context.Context, copies []*repository.Copy) (readers []*repository.Reader, errs []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		n   int
		r   *repository.Reader
		err error
	}
	answers := make(chan answer, len(copies))
	for n, c := range copies {
		go func() {
			r, err := repository.Open(ctx, c.Target)
			answers <- answer{n, r, err}
		}()
		readers, errs = append(readers, nil), append(errs, fmt.Errorf("it did not answer within %s", straggle))
	}
	var late <-chan time.Time
	for range copies {
		select {
		case a := <-answers:
			readers[a.n], errs[a.n] = a.r, a.err
			if a.err == nil && late == nil {
				late = time.After(straggle)
			}
		case <-late:
			return readers, errs
		}
	}
	return readers, errs
}

// siblings lets a reader read the other copies too whose journal is its own, or the beginning of it.
func (a *app) siblings(best *repository.Reader, name string, names []string, all []*repository.Reader) {
	called := []string{name}
	for i, r := range all {
		n := min(r.Chain.Len(), best.Chain.Len())
		if r != best && bytes.Equal(r.Chain.Entries()[n-1].Raw, best.Chain.Entries()[n-1].Raw) {
			called, best.Siblings = append(called, names[i]), append(best.Siblings, r.Target)
		}
	}
	best.Missed = func(n int, err error) {
		hint := ""
		if chunkstore.Damaged(err) {
			hint = "; run `lifeboat heal`"
		}
		a.note("lifeboat: warning: %s: %v: reading another copy%s", called[n], err, hint)
	}
	a.called = called
}

// head is the newest record that this host knows.
func (a *app) head() (journal.Head, error) {
	cfg, err := a.config()
	if err != nil {
		return journal.Head{}, err
	}
	return journal.ReadHead(cfg.StateDir)
}

// trust compares the repository's root with what is known of it: --trust, the notes in the identity file, or the state
// directory of the backup host.
func (a *app) trust(x access, r *repository.Reader) error {
	fingerprint, err := r.Fingerprint()
	if err != nil {
		return err
	}
	same := func(known string) bool {
		return strings.ReplaceAll(known, "-", "") == strings.ReplaceAll(fingerprint, "-", "")
	}
	noted := a.notedFingerprints(identityPath(x))
	want, known := noted[r.Chain.Repository().String()]
	switch {
	case x.trust != "" && same(x.trust), x.trust == "" && known && same(want):
		return nil
	case x.trust != "":
		return fmt.Errorf("%w: its fingerprint is %s, --trust says %s", errTrust, fingerprint, x.trust)
	case known:
		return fmt.Errorf("%w: its fingerprint is %s, the identity file notes %s", errTrust, fingerprint, want)
	case len(noted) > 0:
		return fmt.Errorf("%w: the identity file notes other repositories only, and this is %s: give the fingerprint on its recovery sheet to --trust", errTrust, r.Chain.Repository())
	}
	if keys := a.hostKeys(); keys != nil {
		if keys.Root != r.Chain.RootKey() {
			return fmt.Errorf("%w: this host knows another root key", errTrust)
		}
		return nil
	}
	if a.unverified == fingerprint {
		return nil // said already
	}
	a.unverified = fingerprint
	a.note("origin unverified: compare %s with your recovery sheet, or repeat with --trust FINGERPRINT", fingerprint)
	return nil
}

// hostKeys returns the keys of the configured state directory; nil where there is none that can be read.
func (a *app) hostKeys() *crypto.HostKeys {
	cfg, err := a.config()
	if err != nil {
		return nil
	}
	keys, err := repository.HostKeys(cfg.StateDir)
	if err != nil {
		return nil
	}
	return keys
}

// pluginUI lets age plugins talk to the person at the terminal.
func pluginUI() *plugin.ClientUI {
	say := func(format string, v ...any) { fmt.Fprintf(os.Stderr, format+"\n", v...) }
	return plugin.NewTerminalUI(say, say)
}

// notePattern is the comment that init writes into identity files.
var notePattern = regexp.MustCompile(`(?m)^# lifeboat: repository ([0-9a-f]{32}) has fingerprint ([0-9a-f-]{35})\s*$`)

func (a *app) notedFingerprints(path string) map[string]string {
	out := map[string]string{}
	b, err := a.identityFile(path)
	if err != nil {
		return out // reading the identities fails with the right message
	}
	for _, m := range notePattern.FindAllStringSubmatch(string(b), -1) {
		out[m[1]] = m[2]
	}
	return out
}

func identityPath(x access) string {
	if x.identity != "" {
		return x.identity
	}
	return os.Getenv("LIFEBOAT_IDENTITY_FILE")
}

// identityFile reads a file with identities, once.
func (a *app) identityFile(path string) ([]byte, error) {
	if b, ok := a.identity[path]; ok {
		return b, nil
	}
	b, err := os.ReadFile(path)
	if err == nil {
		a.identity = map[string][]byte{path: b}
	}
	return b, err
}

// identities reads the identity file; none given is no error and no identities.
func (a *app) identities(x access) ([]age.Identity, error) {
	path := identityPath(x)
	if path == "" {
		return nil, nil
	}
	b, err := a.identityFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: read the identity file: %w", crypto.ErrIdentity, err)
	}
	ids, err := crypto.ParseIdentities(b, pluginUI())
	if err != nil {
		return nil, fmt.Errorf("%w: identity file %s: %w", crypto.ErrIdentity, path, err)
	}
	return ids, nil
}

// unlock opens the repository with the identity, or, where trees are enough, with what the backup host has.
func (a *app) unlock(ctx context.Context, x access, r *repository.Reader, content bool) error {
	ids, err := a.identities(x)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		return r.Unlock(ctx, ids)
	}
	if content {
		return fmt.Errorf("%w: this needs the identity that the repository is sealed to: --identity FILE, or $LIFEBOAT_IDENTITY_FILE", crypto.ErrIdentity)
	}
	if cfg, err := a.config(); err == nil {
		keys, err := repository.HostKeys(cfg.StateDir)
		if err == nil {
			return r.UnlockHost(ctx, keys)
		}
		if !absent(err) {
			return err
		}
	}
	return fmt.Errorf("%w: the names of sources are encrypted: --identity FILE, or run this on the backup host", crypto.ErrIdentity)
}

// source makes the source of a configured name.
func (a *app) source(name string) (snapshot.Source, config.Source, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, config.Source{}, err
	}
	s, ok := cfg.Source(name)
	if !ok {
		var have []string
		for _, s := range cfg.Sources {
			have = append(have, s.Name)
		}
		return nil, s, usagef("there is no source %q in the configuration (it has: %s)", name, strings.Join(have, ", "))
	}
	switch s.Engine {
	case config.SQLite:
		return sqlite.New(s.Path, sqlite.Options{TempDir: cfg.StateDir}), s, nil
	case config.Postgres:
		password, err := password(s.PasswordFile)
		src := postgres.New(s.DSN.Reveal(), password)
		src.Slot = slotName(cfg.Repository, s.Name)
		return src, s, err
	case config.MySQL, config.Files:
	}
	return nil, s, usagef("source %s: engine %s is not in this version", name, s.Engine)
}

// slotName is the name of a permanent slot: lower-case letters, digits and underscores, 63 bytes at most.
func slotName(repository, source string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower("lifeboat_"+repository+"_"+source))
	return name[:min(len(name), 63)]
}

// password reads the first line of a password file that nobody else can read.
func password(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", usagef("read the password file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", usagef("the password file %s can be read by others (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", usagef("read the password file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}
