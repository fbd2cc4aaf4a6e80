package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/target"
)

// Reseal seals every secret of the repository anew, to recipients. Whoever could open the earlier key files and kept a copy
// of them still can: this adds readers, it does not revoke any.
func (h *Host) Reseal(ctx context.Context, identities []age.Identity, recipients []crypto.Recipient, reason string) error {
	first, err := h.primary()
	if err != nil {
		return err
	}
	s, err := h.openAll(ctx, identities)
	if err != nil {
		return err
	}
	r := journal.Record{Type: journal.Keys, Reason: reason, Keys: &journal.KeysBody{}}
	for _, to := range recipients {
		sum := sha256.Sum256([]byte(to.Text))
		if id := hex.EncodeToString(sum[:16]); to.Reads {
			r.Keys.Readers = append(r.Keys.Readers, id)
		} else {
			r.Keys.Recipients = append(r.Keys.Recipients, id)
		}
	}
	return h.commitKeys(ctx, first, s, h.secrets, recipients, r)
}

// Rotate is Reseal, and begins a new epoch: what is stored from then on does not open with the epochs before it. What was
// stored stays under its own.
func (h *Host) Rotate(ctx context.Context, identities []age.Identity, recipients []crypto.Recipient, reason string) error {
	first, err := h.primary()
	if err != nil {
		return err
	}
	s, err := h.openAll(ctx, identities)
	if err != nil {
		return err
	}
	host := *h.secrets
	epoch, err := host.NextEpoch()
	if err != nil {
		return err
	}
	s.epochs = append(s.epochs, &epoch)
	cert, err := certify(*s.root, &host, h.Chain().Len()+1)
	if err != nil {
		return err
	}
	r := journal.Record{Type: journal.Takeover, Reason: reason, Takeover: &journal.TakeoverBody{Certificate: cert}}
	if err := h.commitKeys(ctx, first, s, &host, recipients, r); err != nil {
		return err
	}
	return h.followEpoch()
}

// secrets are what the key files hold, but for the host's.
type secrets struct {
	root   *crypto.RootSecret
	epochs []*crypto.EpochSecret
}

// openAll opens the root and every epoch, from whichever copies have them.
func (h *Host) openAll(ctx context.Context, identities []age.Identity) (*secrets, error) {
	s := &secrets{}
	roots, err := h.openKeys(ctx, crypto.WhatRoot, identities)
	if err != nil {
		return nil, err
	}
	if s.root, err = crypto.ParseRootSecret(roots[0]); err != nil {
		return nil, err
	}
	epochs, err := h.openKeys(ctx, crypto.WhatEpoch, identities)
	if err != nil {
		return nil, err
	}
	seen := map[int]bool{}
	for _, b := range epochs {
		e, err := crypto.ParseEpochSecret(b)
		if err != nil {
			return nil, err
		}
		if !seen[e.Epoch] {
			seen[e.Epoch] = true
			s.epochs = append(s.epochs, e)
		}
	}
	if n := len(h.Chain().Epochs()); len(s.epochs) < n {
		return nil, fmt.Errorf("%w: it opens %d of %d epochs, and the recipients could not read the others: give the identity that opens all", crypto.ErrIdentity, len(s.epochs), n)
	}
	return s, nil
}

// openKeys is the function of that name on the first copy where it succeeds.
func (h *Host) openKeys(ctx context.Context, what crypto.What, identities []age.Identity) (secrets [][]byte, err error) {
	var errs []error
	for _, c := range h.Copies {
		if c.Err != nil {
			continue
		}
		if secrets, err = openKeys(ctx, c.Target, h.Chain(), what, identities); err == nil {
			return secrets, nil
		}
		errs = append(errs, fmt.Errorf("target %s: %w", c.Name, err))
	}
	return nil, errors.Join(errs...)
}

// commitKeys seals all secrets to recipients and commits r with the key files.
func (h *Host) commitKeys(ctx context.Context, first *Copy, s *secrets, host *crypto.HostSecrets, recipients []crypto.Recipient, r journal.Record) error {
	type keyFile struct {
		what   crypto.What
		epoch  int
		secret any
	}
	files := []keyFile{{crypto.WhatRoot, 0, s.root}, {crypto.WhatHost, 0, host}}
	for _, e := range s.epochs {
		files = append(files, keyFile{crypto.WhatEpoch, e.Epoch, e})
	}
	for _, f := range files {
		secret, err := json.Marshal(f.secret)
		if err != nil {
			return fmt.Errorf("encode %s key: %w", f.what, err)
		}
		objects, err := h.sealKey(ctx, first.Target, f.what, f.epoch, secret, recipients)
		if err != nil {
			return err
		}
		r.Objects = append(r.Objects, objects...)
	}
	if _, err := h.commit(ctx, first, r); err != nil {
		return err
	}
	return h.Replicate(ctx)
}

// followEpoch seals to the epoch that the root certified last: a rotation counts once its record stands.
func (h *Host) followEpoch() (err error) {
	epochs := h.Chain().Epochs()
	if len(epochs) == 0 || epochs[len(epochs)-1] == h.secrets.EpochRecipient {
		return nil
	}
	h.secrets.Epoch, h.secrets.EpochRecipient = len(epochs), epochs[len(epochs)-1]
	if h.keys, err = h.secrets.Keys(); err != nil {
		return err
	}
	return h.saveSecrets()
}

// sealKey stores a key file that the next record will name.
func (h *Host) sealKey(ctx context.Context, t target.Target, what crypto.What, epoch int, secret []byte, recipients []crypto.Recipient) ([]target.Object, error) {
	if what == crypto.WhatEpoch {
		return storeKey(ctx, t, fmt.Sprintf("%s-%d.%d", what, epoch, h.Chain().Len()+1), secret, recipients)
	}
	return storeKey(ctx, t, fmt.Sprintf("%s-%d", what, h.Chain().Len()+1), secret, crypto.Masters(recipients))
}
