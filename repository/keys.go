package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	r := journal.Record{Type: journal.Keys, Reason: reason, Keys: &journal.KeysBody{}}
	for _, what := range []crypto.What{crypto.WhatRoot, crypto.WhatHost, crypto.WhatEpoch} {
		secrets, err := openKeys(ctx, first.Target, h.Chain(), what, identities)
		if err != nil {
			return err
		}
		if what != crypto.WhatEpoch {
			secrets = secrets[:1] // the newest counts; of the epochs all do
		}
		sealed := map[int]bool{}
		for _, secret := range secrets {
			epoch := 0
			if what == crypto.WhatEpoch {
				e, err := crypto.ParseEpochSecret(secret)
				if err != nil {
					return err
				}
				epoch = e.Epoch
			}
			if sealed[epoch] {
				continue
			}
			sealed[epoch] = true
			objects, err := h.sealKey(ctx, first.Target, what, epoch, secret, recipients)
			if err != nil {
				return err
			}
			r.Objects = append(r.Objects, objects...)
		}
		if what == crypto.WhatEpoch && len(sealed) < len(h.Chain().Epochs()) {
			return fmt.Errorf("%w: it opens %d of %d epochs, and who is added could not read the others: give the identity that opens all", crypto.ErrIdentity, len(sealed), len(h.Chain().Epochs()))
		}
	}
	for _, to := range recipients {
		sum := sha256.Sum256([]byte(to.Text))
		r.Keys.Recipients = append(r.Keys.Recipients, hex.EncodeToString(sum[:16]))
	}
	if _, err := h.commit(ctx, first, r); err != nil {
		return err
	}
	return h.Replicate(ctx)
}

// Rotate begins a new epoch, sealed to recipients: what is stored from then on does not open with the epochs before it. What
// was stored stays under its own.
func (h *Host) Rotate(ctx context.Context, identities []age.Identity, recipients []crypto.Recipient, reason string) error {
	first, err := h.primary()
	if err != nil {
		return err
	}
	roots, err := openKeys(ctx, first.Target, h.Chain(), crypto.WhatRoot, identities)
	if err != nil {
		return err
	}
	root, err := crypto.ParseRootSecret(roots[0])
	if err != nil {
		return err
	}
	secrets := *h.secrets
	epoch, err := secrets.NextEpoch()
	if err != nil {
		return err
	}
	cert, err := certify(*root, &secrets, h.Chain().Len()+1)
	if err != nil {
		return err
	}
	r := journal.Record{Type: journal.Takeover, Reason: reason, Takeover: &journal.TakeoverBody{Certificate: cert}}
	for _, k := range []struct {
		what   crypto.What
		secret any
	}{{crypto.WhatHost, secrets}, {crypto.WhatEpoch, epoch}} {
		secret, err := json.Marshal(k.secret)
		if err != nil {
			return fmt.Errorf("encode %s key: %w", k.what, err)
		}
		objects, err := h.sealKey(ctx, first.Target, k.what, epoch.Epoch, secret, recipients)
		if err != nil {
			return err
		}
		r.Objects = append(r.Objects, objects...)
	}
	if _, err := h.commit(ctx, first, r); err != nil {
		return err
	}
	if err := h.followEpoch(); err != nil {
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
	name := fmt.Sprintf("%s-%d", what, h.Chain().Len()+1)
	if what == crypto.WhatEpoch {
		name = fmt.Sprintf("%s-%d.%d", what, epoch, h.Chain().Len()+1)
	}
	return storeKey(ctx, t, name, secret, recipients)
}
