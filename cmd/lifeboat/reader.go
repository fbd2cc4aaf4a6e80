package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/journal"
	"lifeboat/repository"
)

// errTrust is wrapped where a copy is not of the repository that was expected.
var errTrust = errors.New("this is not the repository you trust")

// reader opens the journal of a copy and checks that it is the trusted repository: the copy that --from names, or else the one
// that reaches furthest.
func (a *app) reader(ctx context.Context, x access) (_ string, _ *repository.Reader, err error) {
	copies, err := a.locate(ctx, x)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			daemon.CloseAll(copies)
		}
	}()
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
		return "", nil, errors.Join(append(errs, a.begun(x))...)
	}
	for _, err := range errs {
		a.note("lifeboat: warning: %v: reading %s", err, name)
	}
	a.siblings(best, name, names, all)
	for _, c := range copies { // what is not read is not kept open
		if c.Target != best.Target && !slices.Contains(best.Siblings, c.Target) {
			daemon.CloseAll([]*repository.Copy{c})
		}
	}
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

// leave closes the copies of a reader.
func leave(r *repository.Reader) {
	if r == nil {
		return
	}
	copies := []*repository.Copy{{Target: r.Target}}
	for _, t := range r.Siblings {
		copies = append(copies, &repository.Copy{Target: t})
	}
	daemon.CloseAll(copies)
}

// begun says why nothing can be read on a host where nobody prepared anything yet.
func (a *app) begun(x access) error {
	cfg, err := a.config()
	if err != nil || x.from != "" || identityPath(x) != "" {
		return nil // it reads the copies of another host
	}
	if _, err := repository.HostKeys(cfg.StateDir); !absent(err) {
		return nil
	}
	return fmt.Errorf("%w on this host: `lifeboat init` prepares its state and the targets", repository.ErrNotInitialised)
}

// straggle is how long the other copies have to answer once one did.
const straggle = 10 * time.Second

// errSilent is wrapped where a copy did not answer while another did.
var errSilent = fmt.Errorf("it did not answer within %s", straggle)

// answers asks n copies at once. One that does not answer holds up the others for a moment only: what it says later goes to late.
func answers[T any](ctx context.Context, n int, ask func(ctx context.Context, i int) (T, error), late func(T)) (all []T, errs []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		i   int
		v   T
		err error
	}
	said := make(chan answer, n)
	all = make([]T, n)
	for i := range n {
		go func() {
			v, err := ask(ctx, i)
			said <- answer{i, v, err}
		}()
		errs = append(errs, errSilent)
	}
	var over <-chan time.Time
	for left := n; left > 0; left-- {
		select {
		case a := <-said:
			all[a.i], errs[a.i] = a.v, a.err
			if a.err == nil && over == nil {
				over = time.After(straggle)
			}
		case <-over:
			go func() {
				for range left {
					if a := <-said; a.err == nil {
						late(a.v)
					}
				}
			}()
			return all, errs
		}
	}
	return all, errs
}

// openAll reads the journals of all copies that could be opened, at once; the others keep their errors.
func openAll(ctx context.Context, copies []*repository.Copy) ([]*repository.Reader, []error) {
	return answers(ctx, len(copies), func(ctx context.Context, i int) (*repository.Reader, error) {
		if copies[i].Err != nil {
			return nil, copies[i].Err
		}
		return repository.Open(ctx, copies[i].Target)
	}, func(*repository.Reader) {})
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
	if repository.IsDrillHost(cfg.StateDir) {
		return journal.Head{}, fs.ErrNotExist // what it keeps is the head of its own journal
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
	if root := a.knownRoot(); root != "" {
		if root != r.Chain.RootKey() {
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

// knownRoot is the root key that the configured state directory knows; empty where it knows none.
func (a *app) knownRoot() string {
	if keys := a.hostKeys(); keys != nil {
		return keys.Root
	}
	if cfg, err := a.config(); err == nil {
		return repository.DrillRoot(cfg.StateDir)
	}
	return ""
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
