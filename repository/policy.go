package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"lifeboat/journal"
	"lifeboat/restore"
)

// RecordPolicies records how the policies read that are in use from now on: those that differ from what the journal says, and those that there are no
// more. texts are all of them, by name; each must always be written in the same way. Once it returns nil, whoever reads the journal can tell which
// rules held at what time. Errors wrap restore.ErrRefused: nothing may be dropped by rules that are in no record.
func (h *Host) RecordPolicies(ctx context.Context, texts map[string][]byte) error {
	for _, n := range changedPolicies(h.Chain(), h.Opaque, texts) {
		if err := h.record(ctx, n); err != nil {
			return fmt.Errorf("%w: the policies in use could not be recorded, and nothing is dropped by what is in no record: %w", restore.ErrRefused, err)
		}
	}
	return nil
}

// changedPolicies are those of texts that differ from what a journal says, and with gone those that there are no more. How they read on another host is not
// how they read here.
func changedPolicies(chain *journal.Chain, opaque func(string) string, texts map[string][]byte) (changed []Noted) {
	gone := map[string]string{} // digests of what is in force, by opaque name
	for _, e := range chain.Entries() {
		if e.Policy != nil && e.Via == nil {
			gone[e.Policy.Policy] = e.Policy.Digest
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		opaque, sum := opaque(OpaquePolicy+name), sha256.Sum256(texts[name])
		digest := hex.EncodeToString(sum[:])
		if gone[opaque] != digest {
			changed = append(changed, notedPolicy(opaque, digest, texts[name]))
		}
		delete(gone, opaque)
	}
	for _, opaque := range slices.Sorted(maps.Keys(gone)) {
		if gone[opaque] != "" {
			changed = append(changed, notedPolicy(opaque, "", nil))
		}
	}
	return changed
}

func notedPolicy(opaque, digest string, text []byte) Noted {
	return Noted{Record: journal.Record{Type: journal.Policy, Policy: &journal.PolicyBody{Policy: opaque, Digest: digest}}, Document: text}
}
