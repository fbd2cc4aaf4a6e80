package crypto

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"filippo.io/age"
	"github.com/restic/chunker"
)

// What names a kind of key file.
type What string

// The key files.
const (
	WhatRoot  What = "root"
	WhatHost  What = "host"
	WhatEpoch What = "epoch"
)

// whatDrills names the secrets of a drill host, which are in no key file.
const whatDrills What = "drill host"

// RootSecret certifies signing keys. It exists in memory during init and take-over, otherwise only in key files.
type RootSecret struct {
	Lifeboat   What   `json:"lifeboat"`
	Repository ID     `json:"repository"`
	Seed       []byte `json:"seed"`
}

// HostSecrets are what the backup host keeps. They find and sign; they open host frames, never content.
type HostSecrets struct {
	Lifeboat       What        `json:"lifeboat"`
	Repository     ID          `json:"repository"`
	IDKey          []byte      `json:"id_key"`
	Polynomial     chunker.Pol `json:"polynomial"`
	IndexIdentity  string      `json:"index_identity"`
	SigningSeed    []byte      `json:"signing_seed"`
	RootKey        string      `json:"root_key"`
	Epoch          int         `json:"epoch"`
	EpochRecipient string      `json:"epoch_recipient"`
}

// EpochSecret opens and verifies everything that was sealed in one epoch.
type EpochSecret struct {
	Lifeboat   What   `json:"lifeboat"`
	Repository ID     `json:"repository"`
	Epoch      int    `json:"epoch"`
	Identity   string `json:"identity"`
	IDKey      []byte `json:"id_key"`
}

// DrillSecrets are what a drill host keeps: they sign what it did, and open nothing.
type DrillSecrets struct {
	Lifeboat    What   `json:"lifeboat"`
	Repository  ID     `json:"repository"`
	Role        Role   `json:"role"`
	RootKey     string `json:"root_key"`
	SigningSeed []byte `json:"signing_seed"`
	// Certificate is the root's, once there is one.
	Certificate string `json:"certificate,omitempty"`
}

// NewDrillSecrets makes those of a new drill host.
func NewDrillSecrets(repository ID, role Role, rootKey string) *DrillSecrets {
	return &DrillSecrets{Lifeboat: whatDrills, Repository: repository, Role: role, RootKey: rootKey, SigningSeed: random(ed25519.SeedSize)}
}

// ParseDrillSecrets reads the state directory's file.
func ParseDrillSecrets(b []byte) (*DrillSecrets, error) {
	var d DrillSecrets
	if err := parseSecret(b, &d); err != nil || d.Lifeboat != whatDrills || !d.Role.Drills() || len(d.SigningSeed) != ed25519.SeedSize {
		return nil, fmt.Errorf("read the secrets of a drill host: %w", ErrDamaged)
	}
	return &d, nil
}

// Key is the verifier key of what the host signs.
func (d *DrillSecrets) Key() (string, error) {
	return VerifierKey(d.Repository, d.Role, d.SigningSeed)
}

// Generate makes the secrets of a new repository: its root, its host's secrets and its first epoch.
func Generate() (RootSecret, HostSecrets, EpochSecret, error) {
	repository := ID(random(IDSize))
	root := RootSecret{Lifeboat: WhatRoot, Repository: repository, Seed: random(ed25519.SeedSize)}
	host := HostSecrets{Lifeboat: WhatHost, Repository: repository, IDKey: random(32), SigningSeed: random(ed25519.SeedSize)}
	pol, err := chunker.RandomPolynomial()
	if err != nil {
		return root, host, EpochSecret{}, fmt.Errorf("generate the chunker's polynomial: %w", err)
	}
	host.Polynomial = pol
	index, err := age.GenerateHybridIdentity()
	if err != nil {
		return root, host, EpochSecret{}, fmt.Errorf("generate the index key: %w", err)
	}
	host.IndexIdentity = index.String()
	if host.RootKey, err = VerifierKey(repository, Root, root.Seed); err != nil {
		return root, host, EpochSecret{}, err
	}
	epoch, err := host.NextEpoch()
	return root, host, epoch, err
}

// NextEpoch begins another epoch: what is sealed from then on opens with its identity. The ID key stays.
func (h *HostSecrets) NextEpoch() (EpochSecret, error) {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return EpochSecret{}, fmt.Errorf("generate the epoch key: %w", err)
	}
	h.Epoch, h.EpochRecipient = h.Epoch+1, identity.Recipient().String()
	return EpochSecret{Lifeboat: WhatEpoch, Repository: h.Repository, Epoch: h.Epoch, Identity: identity.String(), IDKey: h.IDKey}, nil
}

// NewSigningSeed replaces the signing key after a take-over.
func (h *HostSecrets) NewSigningSeed() { h.SigningSeed = random(ed25519.SeedSize) }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand stops the program instead
	return b
}

// ParseHostSecrets reads the state directory's file or a host key file.
func ParseHostSecrets(b []byte) (*HostSecrets, error) {
	var h HostSecrets
	if err := parseSecret(b, &h); err != nil || h.Lifeboat != WhatHost {
		return nil, fmt.Errorf("read host secrets: %w", ErrDamaged)
	}
	_, err := h.Keys()
	return &h, err
}

// ParseRootSecret reads a root key file.
func ParseRootSecret(b []byte) (*RootSecret, error) {
	var r RootSecret
	if err := parseSecret(b, &r); err != nil || r.Lifeboat != WhatRoot || len(r.Seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("read root secret: %w", ErrDamaged)
	}
	return &r, nil
}

// ParseEpochSecret reads an epoch key file.
func ParseEpochSecret(b []byte) (*EpochSecret, error) {
	var e EpochSecret
	if err := parseSecret(b, &e); err != nil || e.Lifeboat != WhatEpoch {
		return nil, fmt.Errorf("read epoch secret: %w", ErrDamaged)
	}
	return &e, nil
}

// parseSecret drops the JSON error: it can quote the secret.
func parseSecret(b []byte, v any) error {
	if len(b) > MaxKeyFile || json.Unmarshal(b, v) != nil {
		return ErrDamaged
	}
	return nil
}

// HostKeys are parsed host secrets, ready for use.
type HostKeys struct {
	IDs    IDKey
	Sealed []age.Recipient // of sealed frames
	Host   []age.Recipient // of host frames
	Index  age.Identity    // opens host frames
	Root   string          // verifier key of the root
}

// Keys parses the secrets; an error means that the file was damaged.
func (h *HostSecrets) Keys() (*HostKeys, error) {
	ids, err := NewIDKey(h.IDKey, h.Repository)
	if err != nil {
		return nil, fmt.Errorf("read host secrets: %w", err)
	}
	epoch, err := age.ParseHybridRecipient(h.EpochRecipient)
	if err != nil {
		return nil, fmt.Errorf("read host secrets: epoch recipient: %w", ErrDamaged)
	}
	index, err := age.ParseHybridIdentity(h.IndexIdentity)
	if err != nil {
		return nil, fmt.Errorf("read host secrets: index identity: %w", ErrDamaged)
	}
	if h.Polynomial.Deg() != 53 || !h.Polynomial.Irreducible() {
		return nil, fmt.Errorf("read host secrets: polynomial: %w", ErrDamaged)
	}
	return &HostKeys{IDs: ids, Sealed: []age.Recipient{epoch}, Host: []age.Recipient{epoch, index.Recipient()}, Index: index, Root: h.RootKey}, nil
}

// Open parses the epoch's identity and ID key. The caller checks that the root certified the identity's recipient.
func (e *EpochSecret) Open() (*age.HybridIdentity, IDKey, error) {
	ids, err := NewIDKey(e.IDKey, e.Repository)
	if err != nil {
		return nil, ids, fmt.Errorf("read epoch secret: %w", err)
	}
	id, err := age.ParseHybridIdentity(e.Identity)
	if err != nil {
		return nil, ids, fmt.Errorf("read epoch secret: identity: %w", ErrDamaged)
	}
	return id, ids, nil
}
