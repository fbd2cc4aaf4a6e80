package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/journal"
)

// Reseal seals every secret of the repository anew, to recipients. Whoever could open the earlier key files and kept a copy
// of them still can: this adds readers, it does not revoke any.
func (h *Host) Reseal(ctx context.Context, identities []age.Identity, recipients []crypto.Recipient, reason string) error {
	first, err := h.primary()
	if err != nil {
		return err
	}
	next := h.Chain().Len() + 1
	r := journal.Record{Type: journal.Keys, Reason: reason, Keys: &journal.KeysBody{}}
	for _, k := range []struct {
		what crypto.What
		name string
	}{
		{crypto.WhatRoot, fmt.Sprintf("root-%d", next)},
		{crypto.WhatHost, fmt.Sprintf("host-%d", next)},
		{crypto.WhatEpoch, fmt.Sprintf("epoch-%d.%d", h.secrets.Epoch, next)},
	} {
		secrets, err := openKeys(ctx, first.Target, h.Chain(), k.what, identities)
		if err != nil {
			return err
		}
		objects, err := storeKey(ctx, first.Target, k.name, secrets[0], recipients)
		if err != nil {
			return err
		}
		r.Objects = append(r.Objects, objects...)
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
