package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/target"
)

// Certify lets the key of a drill host count, by the root, which one of identities opens.
func (h *Host) Certify(ctx context.Context, identities []age.Identity, key, reason string) (crypto.Role, error) {
	role := crypto.RoleOf(h.secrets.Repository, key)
	if _, err := crypto.NewVerifier(h.secrets.Repository, role, key); err != nil || !role.Drills() {
		return "", errors.Join(fmt.Errorf("%w: %.200q is no key of a drill host of this repository: it is what `lifeboat drill enrol` prints", restore.ErrRefused, key), err)
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
// and hinders no other. It returns how many records it entered.
func (h *Host) Enter(ctx context.Context) (n int, err error) {
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
			h.warn(fmt.Errorf("what the host %s did is not all entered: target %s: %w", known.Role, c.Name, err))
		}
	}
	return n, nil
}

// Bounds of what is entered at once of a drill host, so that one which went astray, or is an attacker's, fills no copy before somebody notices.
const (
	maxEntered      = 256
	maxEnteredBytes = 64 << 20 // of documents
	maxNoted        = 64 << 10 // bytes of one record
)

// enterFrom enters the records that stand on one target. A target is asked for the next record alone, so that looking costs little.
func (h *Host) enterFrom(ctx context.Context, t target.Target, role crypto.Role) (n int, err error) {
	next := h.Chain().DrillHost(role).Chain.Clone()
	for size := int64(0); n < maxEntered && size < maxEnteredBytes; n++ {
		raw, err := target.Read(ctx, t, journal.Name(next.Len()+1), maxNoted)
		if errors.Is(err, fs.ErrNotExist) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if err := next.Append(raw); err != nil {
			return n, err
		}
		e := next.Entries()[next.Len()-1]
		if err := h.enter(ctx, t, role, e); err != nil {
			return n, err
		}
		for _, o := range e.Objects {
			size += o.Size
		}
	}
	return n, nil
}

// enter records one record of a drill host, once its document stands.
func (h *Host) enter(ctx context.Context, from target.Target, role crypto.Role, e journal.Entry) error {
	if _, err := h.primary(); err != nil {
		return err
	}
	for _, o := range e.Objects { // its document
		sealed, err := chunkstore.ReadDigest(ctx, from, o.Name, crypto.MaxSealedDocument)
		if err != nil {
			return err
		}
		if stored, err := h.storeDocument(ctx, sealed); err != nil || stored != o {
			return errors.Join(fmt.Errorf("the document of its record %d is not the one that it names: %w", e.Seq, crypto.ErrDamaged), err)
		}
	}
	return h.enterNoted(ctx, journal.Entering(role, e))
}
