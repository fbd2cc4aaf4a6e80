package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/target"
)

// Certify lets the key of a drill host count, by the root, which one of identities opens.
func (h *Host) Certify(ctx context.Context, identities []age.Identity, key, reason string) (role crypto.Role, err error) {
	role = crypto.RoleOf(h.secrets.Repository, key)
	if !role.Drills() {
		err = errors.New("its name is another")
	} else {
		_, err = crypto.NewVerifier(h.secrets.Repository, role, key)
	}
	if err != nil { // without what was given: it may be a secret
		return "", fmt.Errorf("%w: this is no key of a drill host of this repository: it is what `lifeboat drill enrol` prints, and begins with lifeboat/", restore.ErrRefused)
	}
	if h.Chain().DrillHost(role) != nil {
		return "", fmt.Errorf("%w: there was a %s before, and a name is never used again: enrol the host under another", restore.ErrRefused, role)
	}
	cert := crypto.Certificate{Repository: h.secrets.Repository, Role: role, Key: key, From: h.Chain().Len() + 1, Epoch: h.secrets.EpochRecipient}
	return role, h.state(ctx, identities, cert, crypto.SignCertificate, func(text string) journal.Record {
		return journal.Record{Type: journal.Certify, Reason: reason, Certify: &journal.CertifyBody{Certificate: text}}
	})
}

// Revoke ends that the key of a drill host counts.
func (h *Host) Revoke(ctx context.Context, identities []age.Identity, role crypto.Role, reason string) error {
	known := h.Chain().DrillHost(role)
	if known == nil || known.Revoked > 0 {
		return fmt.Errorf("%w: there is no %s whose key counts: `lifeboat keys list` shows them", restore.ErrRefused, role)
	}
	cert := crypto.Certificate{Repository: h.secrets.Repository, Role: role, Key: known.Key, From: h.Chain().Len() + 1}
	return h.state(ctx, identities, cert, crypto.SignRevocation, func(text string) journal.Record {
		return journal.Record{Type: journal.Revoke, Reason: reason, Revoke: &journal.RevokeBody{Revocation: text}}
	})
}

// state records what the root says of a key.
func (h *Host) state(ctx context.Context, identities []age.Identity, c crypto.Certificate, sign func(note.Signer, crypto.Certificate) (string, error), record func(string) journal.Record) error {
	first, err := h.primary()
	if err != nil {
		return err
	}
	roots, err := h.openKeys(ctx, crypto.WhatRoot, identities)
	if err != nil {
		return err
	}
	root, err := crypto.ParseRootSecret(roots[0])
	if err != nil {
		return err
	}
	signer, err := crypto.NewSigner(root.Repository, crypto.Root, root.Seed)
	if err != nil {
		return err
	}
	text, err := sign(signer, c)
	if err != nil {
		return err
	}
	if _, err := h.commit(ctx, first, record(text)); err != nil {
		return err
	}
	return h.Replicate(ctx)
}

// Enter records what drill hosts have recorded since it was last looked, from whichever copies have it. What is wrong with the journal of one is told to Warn,
// and hinders no other; it stands in Unentered. It returns how many records it entered.
func (h *Host) Enter(ctx context.Context) (n int, err error) {
	h.Unentered = map[crypto.Role]error{}
	for _, known := range h.Chain().DrillHosts() {
		if known.Revoked > 0 {
			continue
		}
		for _, c := range h.Copies {
			if c.Err != nil {
				continue
			}
			more, err := h.enterFrom(ctx, belowOf(c.Target, known.Role), known.Role)
			if n += more; err == nil {
				continue
			}
			if ctx.Err() != nil || errors.Is(err, journal.ErrPending) {
				return n, err
			}
			h.Unentered[known.Role] = errors.Join(h.Unentered[known.Role], fmt.Errorf("target %s: %w", c.Name, err))
			h.warn(fmt.Errorf("what the host %s did is not all entered: target %s: %w", known.Role, c.Name, err))
		}
	}
	return n, nil
}

// Bounds of what is entered of a drill host within a day, so that one which went astray, or is an attacker's, fills no copy and no memory before somebody notices: what
// is entered stays for ever.
const (
	maxEntered      = 1000     // records
	maxEnteredBytes = 16 << 20 // of these records
	maxDocuments    = 256 << 20
	maxNoted        = 32 << 10 // bytes of one record
)

// enterWithin is how long one target may take; what is left comes with the next time.
const enterWithin = time.Minute

// ErrFlood is wrapped where a drill host records more than one that drills can.
var ErrFlood = errors.New("it records more in a day than a drill host does")

// allowance is what may still be entered of a drill host.
type allowance struct {
	records          int
	bytes, documents int64
}

// allowed is what is left of a day's bounds for a drill host.
func (h *Host) allowed(role crypto.Role) allowance {
	left := allowance{maxEntered, maxEnteredBytes, maxDocuments}
	since := h.Now().Add(-24 * time.Hour)
	for _, e := range slices.Backward(h.Chain().Entries()) {
		if e.Time.Before(since) {
			break
		}
		if e.Via != nil && e.Via.Host == role {
			left.take(e)
		}
	}
	return left
}

// take counts a record that was entered.
func (a *allowance) take(e journal.Entry) {
	a.records--
	a.bytes -= int64(len(e.Raw))
	for _, o := range e.Objects {
		a.documents -= o.Size
	}
}

func (a allowance) spent() bool { return a.records <= 0 || a.bytes <= 0 || a.documents <= 0 }

// enterFrom enters the records that stand on one target. A target is asked for the next record alone, so that looking costs little.
func (h *Host) enterFrom(ctx context.Context, t target.Target, role crypto.Role) (n int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, enterWithin, errors.New("it takes too long; what is left comes with the next time"))
	defer cancel()
	next := h.Chain().DrillHost(role).Chain.Clone()
	for left := h.allowed(role); ; n++ {
		raw, err := target.Read(ctx, t, journal.Name(next.Len()+1), maxNoted)
		if errors.Is(err, fs.ErrNotExist) {
			return n, nil
		}
		if err != nil {
			return n, cmp.Or(context.Cause(ctx), err)
		}
		if left.spent() {
			return n, fmt.Errorf("%w, and what is left waits for tomorrow: see what it does; if somebody else has its key, `lifeboat keys revoke %s`", ErrFlood, role)
		}
		if err := next.Append(raw); err != nil {
			return n, err
		}
		if err := h.enter(ctx, t, role, next.Entries()[next.Len()-1]); err != nil {
			return n, cmp.Or(context.Cause(ctx), err)
		}
		entries := h.Chain().Entries()
		left.take(entries[len(entries)-1])
	}
}

// enter records one record of a drill host, once its document stands.
func (h *Host) enter(ctx context.Context, from target.Target, role crypto.Role, e journal.Entry) error {
	if _, err := h.primary(); err != nil {
		return err
	}
	if e.Drill != nil {
		for _, d := range Drills(h.Chain(), nil) {
			if d.Report == e.Drill.Report {
				return fmt.Errorf("its record %d names the report of record %d: one drill would count as two: %w", e.Seq, d.Entry.Seq, crypto.ErrDamaged)
			}
		}
	}
	for _, o := range e.Objects { // its document
		sealed, err := chunkstore.ReadDigest(ctx, from, o.Name, crypto.MaxSealedDocument)
		if err != nil {
			return err
		}
		if err := crypto.CheckDocument(sealed); err != nil {
			return fmt.Errorf("the document of its record %d: %w", e.Seq, err)
		}
		stored, err := h.storeDocument(ctx, sealed)
		if err == nil && stored != o {
			err = fmt.Errorf("the document of its record %d is not the one that it names: %w", e.Seq, crypto.ErrDamaged)
		}
		if err != nil {
			return err
		}
	}
	return h.enterNoted(ctx, journal.Entering(role, e))
}
