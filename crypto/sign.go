package crypto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Role is what a signing key may do.
type Role string

// The roles. Beside them there is one for each drill host: see DrillRole.
const (
	Root   Role = "root"   // certifies the others; its secret is only in key files
	Writer Role = "writer" // signs the journal
)

var drillRole = regexp.MustCompile(`^drill-[a-z0-9-]{1,32}$`)

// DrillRole is that of the drill host of a name, 1 to 32 of a to z, 0 to 9 and dashes. The role itself is taken for the name, too.
func DrillRole(name string) (Role, error) {
	r := Role("drill-" + strings.TrimPrefix(name, "drill-"))
	if !r.Drills() {
		return "", errors.New("this is no name of a drill host: take 1 to 32 of a to z, 0 to 9 and -") // what was given may be a secret
	}
	return r, nil
}

// Drills reports whether the role is a drill host's.
func (r Role) Drills() bool { return drillRole.MatchString(string(r)) }

// RoleOf is the role for which a verifier key speaks, as its name says. That somebody certified it is another matter.
func RoleOf(repository ID, vkey string) Role {
	name, _, _ := strings.Cut(vkey, "+")
	role, _ := strings.CutPrefix(name, KeyName(repository, ""))
	return Role(role)
}

// KeyName is the name under which a role signs notes of a repository.
func KeyName(repository ID, role Role) string {
	return "lifeboat/" + repository.String() + "/" + string(role)
}

// NewSigner makes the note signer of a role from an Ed25519 seed (32 bytes).
func NewSigner(repository ID, role Role, seed []byte) (note.Signer, error) {
	name := KeyName(repository, role)
	vkey, err := VerifierKey(repository, role, seed)
	if err != nil {
		return nil, err
	}
	hash := strings.Split(vkey, "+")[1]
	key := append([]byte{1}, seed...)
	s, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(key))
	if err != nil {
		return nil, fmt.Errorf("%s key: not usable", role)
	}
	return s, nil
}

// VerifierKey is the public half of a role's key, in the text form of signed notes.
func VerifierKey(repository ID, role Role, seed []byte) (string, error) {
	if len(seed) != ed25519.SeedSize {
		return "", fmt.Errorf("%s key: seed of %d bytes, not %d", role, len(seed), ed25519.SeedSize)
	}
	pub, ok := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("no public key")
	}
	return note.NewEd25519VerifierKey(KeyName(repository, role), pub)
}

// NewVerifier parses a verifier key and checks that it speaks for role in repository.
func NewVerifier(repository ID, role Role, vkey string) (note.Verifier, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("%s verifier key: %w", role, err)
	}
	if v.Name() != KeyName(repository, role) {
		return nil, fmt.Errorf("%s verifier key is for %q, not for %q", role, v.Name(), KeyName(repository, role))
	}
	return v, nil
}

// Fingerprint is what a person compares: half of the SHA-256 of the root's public key, in groups of 8 digits.
func Fingerprint(rootKey string) (string, error) {
	_, data, ok := strings.Cut(rootKey, "+")
	if ok {
		_, data, ok = strings.Cut(data, "+")
	}
	key, err := base64.StdEncoding.DecodeString(data)
	if !ok || err != nil || len(key) != 1+ed25519.PublicKeySize {
		return "", fmt.Errorf("root key %.60q: not a verifier key", rootKey)
	}
	sum := sha256.Sum256(key[1:])
	h := hex.EncodeToString(sum[:16])
	return strings.Join([]string{h[:8], h[8:16], h[16:24], h[24:]}, "-"), nil
}

// Certificate is the root's word that a key has a role from a journal record on, and which epoch content is sealed to.
// Who steals the signing key can name key files, but no other epoch.
type Certificate struct {
	Repository ID
	Role       Role
	Key        string // verifier key
	From       uint64 // first record
	Epoch      string // recipient
}

// SignCertificate returns the certificate as a note signed by root.
func SignCertificate(root note.Signer, c Certificate) (string, error) {
	text := fmt.Sprintf("lifeboat certificate 1\nrepository %s\nrole %s\nkey %s\nfrom %d\nepoch %s\n", c.Repository, c.Role, c.Key, c.From, c.Epoch)
	b, err := note.Sign(&note.Note{Text: text}, root)
	if err != nil {
		return "", fmt.Errorf("sign certificate: %w", err)
	}
	return string(b), nil
}

// OpenCertificate verifies that signed is a certificate by root and returns it.
func OpenCertificate(root note.Verifier, signed string) (c Certificate, err error) {
	n, err := note.Open([]byte(signed), note.VerifierList(root))
	if err != nil {
		return c, fmt.Errorf("verify certificate: %w", err)
	}
	if c, err = parseStatement(n.Text, "certificate", "repository ", "role ", "key ", "from ", "epoch "); err != nil {
		return Certificate{}, fmt.Errorf("read certificate: %w", err)
	}
	return c, nil
}

// SignRevocation returns the root's word that a key of a role counts no longer, from record c.From on. It has no epoch.
func SignRevocation(root note.Signer, c Certificate) (string, error) {
	text := fmt.Sprintf("lifeboat revocation 1\nrepository %s\nrole %s\nkey %s\nfrom %d\n", c.Repository, c.Role, c.Key, c.From)
	b, err := note.Sign(&note.Note{Text: text}, root)
	if err != nil {
		return "", fmt.Errorf("sign revocation: %w", err)
	}
	return string(b), nil
}

// OpenRevocation verifies that signed is a revocation by root and returns it.
func OpenRevocation(root note.Verifier, signed string) (c Certificate, err error) {
	n, err := note.Open([]byte(signed), note.VerifierList(root))
	if err != nil {
		return c, fmt.Errorf("verify revocation: %w", err)
	}
	if c, err = parseStatement(n.Text, "revocation", "repository ", "role ", "key ", "from "); err != nil {
		return Certificate{}, fmt.Errorf("read revocation: %w", err)
	}
	return c, nil
}

// parseStatement reads what the root says of a key: the kind of statement, and a line for each of keys.
func parseStatement(text, kind string, keys ...string) (c Certificate, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != len(keys)+2 || lines[0] != "lifeboat "+kind+" 1" || lines[len(keys)+1] != "" {
		return c, ErrDamaged
	}
	for i, key := range keys {
		v, ok := strings.CutPrefix(lines[i+1], key)
		if !ok {
			return c, fmt.Errorf("no %s: %w", key, ErrDamaged)
		}
		switch key {
		case "repository ":
			c.Repository, err = ParseID(v)
		case "role ":
			c.Role = Role(v)
		case "key ":
			c.Key = v
		case "from ":
			c.From, err = strconv.ParseUint(v, 10, 64)
		case "epoch ":
			c.Epoch = v
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
