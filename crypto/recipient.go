package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// Class separates recipients that age refuses to mix in one file.
type Class string

// The classes.
const (
	PQ      Class = "pq"      // resists a quantum computer
	Classic Class = "classic" // does not
)

// MaxKeyFile bounds a key file, in bytes.
const MaxKeyFile = 64 << 10

// Recipient is a person, escrow or device that can open key files.
type Recipient struct {
	age.Recipient
	Text  string // as it was given
	Class Class
	// Reads is set for one that opens what was backed up, and none of the keys that sign.
	Reads bool
}

// Masters are those that open everything.
func Masters(all []Recipient) []Recipient {
	return slices.DeleteFunc(slices.Clone(all), func(r Recipient) bool { return r.Reads })
}

// ParseRecipient understands native age recipients (age1pq1..., age1...) and recipients of age plugins (age1NAME1...).
func ParseRecipient(s string, ui *plugin.ClientUI) (Recipient, error) {
	s = strings.TrimSpace(s)
	switch {
	case holdsIdentity(s):
		return Recipient{}, errors.New("parse recipient: this is an identity, a secret: configure its recipient (age1...) and keep the identity offline")
	case !strings.HasPrefix(s, "age1"):
		return Recipient{}, errors.New("parse recipient: it does not begin with age1 (expected age1pq1... or age1..., as keygen prints it)")
	case strings.HasPrefix(s, "age1pq1"):
		r, err := age.ParseHybridRecipient(s)
		return Recipient{Recipient: r, Text: s, Class: PQ}, wrapRecipient(s, err)
	case strings.Count(s, "1") > 1:
		if r, err := age.ParseX25519Recipient(s); err == nil {
			return Recipient{Recipient: r, Text: s, Class: Classic}, nil
		}
		r, err := plugin.NewRecipient(s, ui)
		return Recipient{Recipient: r, Text: s, Class: Classic}, wrapRecipient(s, err)
	default:
		r, err := age.ParseX25519Recipient(s)
		return Recipient{Recipient: r, Text: s, Class: Classic}, wrapRecipient(s, err)
	}
}

// holdsIdentity reports whether an identity stands in s, however it is written: such a text is never repeated in an error.
func holdsIdentity(s string) bool {
	s = strings.ToUpper(s)
	return strings.Contains(s, "SECRET-KEY-") || strings.Contains(s, "AGE-PLUGIN-")
}

func wrapRecipient(s string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("parse recipient %.24q...: %w (expected age1pq1... or age1..., as keygen prints it)", s, err)
}

// ParseRecipients parses each of texts; at least one is needed.
func ParseRecipients(texts []string, ui *plugin.ClientUI) ([]Recipient, error) {
	var out []Recipient
	for _, t := range texts {
		r, err := ParseRecipient(t, ui)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, errors.New("no recipients: nobody could ever restore; make an identity with keygen and configure its recipient under keys.recipients")
	}
	return out, nil
}

// SealTo seals a small secret once per class that occurs among recipients.
func SealTo(recipients []Recipient, secret []byte) (map[Class][]byte, error) {
	byClass := map[Class][]age.Recipient{}
	for _, r := range recipients {
		byClass[r.Class] = append(byClass[r.Class], r.Recipient)
	}
	out := map[Class][]byte{}
	for class, rs := range byClass {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, rs...)
		if err != nil {
			return nil, fmt.Errorf("seal key file: %w", err)
		}
		if _, err := w.Write(secret); err != nil {
			return nil, fmt.Errorf("seal key file: %w", err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("seal key file: %w", err)
		}
		out[class] = b.Bytes()
	}
	return out, nil
}

// OpenSealed opens a key file. Errors wrap ErrIdentity or ErrDamaged.
func OpenSealed(sealed []byte, identities []age.Identity) ([]byte, error) {
	if len(identities) == 0 {
		return nil, fmt.Errorf("open key file: %w", ErrIdentity)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if err != nil {
		return nil, openError("open key file", err)
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("open key file: %w: %w", ErrDamaged, err)
	}
	return b, nil
}

// ParseIdentities reads an identity file: native identities and those of plugins, one per line, # for comments.
func ParseIdentities(b []byte, ui *plugin.ClientUI) ([]age.Identity, error) {
	var out []age.Identity
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, err := parseIdentity(line, ui)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		out = append(out, id)
	}
	if len(out) == 0 {
		return nil, errors.New("no identity in it (expected a line AGE-SECRET-KEY-PQ-1... or AGE-SECRET-KEY-1..., as keygen writes it)")
	}
	return out, nil
}

// parseIdentity never repeats the line in an error: it is a secret, or was meant to be one.
func parseIdentity(line string, ui *plugin.ClientUI) (age.Identity, error) {
	switch {
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		id, err := plugin.NewIdentity(line, ui)
		if err != nil {
			return nil, errors.New("not a valid plugin identity")
		}
		return id, nil
	case strings.HasPrefix(line, "age1"):
		return nil, errors.New("this is a recipient (public); an identity begins with AGE-SECRET-KEY-")
	}
	ids, err := age.ParseIdentities(strings.NewReader(line))
	if err != nil || len(ids) != 1 {
		return nil, errors.New("not a valid age identity: mistyped, cut short or changed")
	}
	return ids[0], nil
}
