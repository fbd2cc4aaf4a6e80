package crypto

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

func TestParseRecipient(t *testing.T) {
	for name, v := range map[string]struct {
		text  string
		class Class
	}{
		"hybrid":  {hybrid(t).Recipient().String(), PQ},
		"classic": {classic(t).Recipient().String(), Classic},
		"spaces":  {"  " + classic(t).Recipient().String() + "\n", Classic},
		"plugin":  {plugin.EncodeRecipient("yubikey", []byte("some data")), Classic},
	} {
		r, err := ParseRecipient(v.text, nil)
		if err != nil || r.Class != v.class || r.Text != strings.TrimSpace(v.text) || r.Recipient == nil {
			t.Errorf("%s: %+v, error %v", name, r, err)
		}
	}
	for _, text := range []string{"", "age1", "age1pq1", "age1pq1qqqqqq", "age1yubikey1", "ssh-ed25519 AAAA", "a@example.com", classic(t).Recipient().String() + "x", hybrid(t).Recipient().String()[:100]} {
		if r, err := ParseRecipient(text, nil); err == nil {
			t.Errorf("%q is a recipient: %+v", text, r)
		}
	}
	if _, err := ParseRecipients(nil, nil); err == nil {
		t.Error("no recipients are accepted")
	}
	if _, err := ParseRecipients([]string{classic(t).Recipient().String(), "age1"}, nil); err == nil {
		t.Error("a bad recipient after a good one is accepted")
	}
}

// secretForms are ways in which an identity can end up in the wrong place.
func secretForms(secret string) []string {
	return []string{
		secret, strings.ToLower(secret), " " + secret + " ", `"` + secret + `"`, "identity: " + secret, "age1" + secret, "'" + strings.ToLower(secret),
		secret[:len(secret)-1], secret[:len(secret)/2], secret + "Q", strings.Replace(secret, "1", "l", 1), secret[4:], secret[len(secret)/2:],
	}
}

// TestErrorsHideSecrets looks for any eight digits of an identity in the errors about it.
func TestErrorsHideSecrets(t *testing.T) {
	for _, secret := range []string{hybrid(t).String(), classic(t).String(), plugin.EncodeIdentity("yubikey", []byte("a secret handle"))} {
		digits := strings.ToUpper(secret[strings.LastIndex(secret, "1")+1:])
		leaks := func(err error) bool {
			text := strings.ToUpper(err.Error())
			for i := range len(digits) - 8 {
				if strings.Contains(text, digits[i:i+8]) {
					return true
				}
			}
			return false
		}
		for _, form := range secretForms(secret) {
			if _, err := ParseRecipient(form, nil); err == nil || leaks(err) {
				t.Errorf("ParseRecipient(%q, nil): %v", form, err)
			}
			if ids, err := ParseIdentities([]byte("# a comment\n\n"+form), nil); err != nil && leaks(err) {
				t.Errorf("ParseIdentities(%q, nil): %v %v", form, ids, err)
			}
			if _, err := ParseHostSecrets([]byte(`{"lifeboat":"host","id_key":"` + form + `"}`)); err == nil || leaks(err) {
				t.Errorf("ParseHostSecrets: %v", err)
			}
			if _, err := ParseEpochSecret([]byte(form)); err == nil || leaks(err) {
				t.Errorf("ParseEpochSecret: %v", err)
			}
			if _, err := ParseRootSecret([]byte(`"` + form + `"`)); err == nil || leaks(err) {
				t.Errorf("ParseRootSecret: %v", err)
			}
		}
	}
}

func TestParseIdentities(t *testing.T) {
	h, c := hybrid(t), classic(t)
	text := "# created: today\n# public key: " + c.Recipient().String() + "\n" + c.String() + "\r\n\n  " + h.String() + "\n" + plugin.EncodeIdentity("yubikey", []byte("x")) + "\n"
	ids, err := ParseIdentities([]byte(text), nil)
	if err != nil || len(ids) != 3 {
		t.Fatalf("%d identities, error %v", len(ids), err)
	}
	for name, text := range map[string]string{"empty": "", "comments": "# nothing\n", "recipient": h.Recipient().String(), "mistyped": strings.Replace(c.String(), "Q", "X", 1) + "Q", "noise": string(noise(1, 500))} {
		if ids, err := ParseIdentities([]byte(text), nil); err == nil {
			t.Errorf("%s: %v", name, ids)
		}
	}
}

func TestKeyFilesPerClass(t *testing.T) {
	h, h2, c := hybrid(t), hybrid(t), classic(t)
	recipients, err := ParseRecipients([]string{h.Recipient().String(), c.Recipient().String(), h2.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(`{"lifeboat":"epoch"}`)
	files, err := SealTo(recipients, secret)
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	opens := map[Class][]age.Identity{PQ: {h, h2}, Classic: {c}}
	for class, sealed := range files {
		if len(sealed) > MaxKeyFile {
			t.Errorf("%s: %d bytes", class, len(sealed))
		}
		for _, id := range opens[class] {
			if got, err := OpenSealed(sealed, []age.Identity{hybrid(t), id}); err != nil || !bytes.Equal(got, secret) {
				t.Errorf("%s: opened %q (%v)", class, got, err)
			}
		}
		for _, wrong := range [][]age.Identity{nil, {hybrid(t)}, {classic(t)}} {
			if _, err := OpenSealed(sealed, wrong); !errors.Is(err, ErrIdentity) {
				t.Errorf("%s: %v, want ErrIdentity", class, err)
			}
		}
		for i := 0; i < len(sealed); i += 5 {
			b := bytes.Clone(sealed)
			b[i] ^= 1 << (i % 8)
			if got, err := OpenSealed(b, opens[class]); err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrIdentity) {
				// With two recipients the stanza of one may be damaged while the other's opens: the header's MAC says no.
				t.Fatalf("%s: byte %d changed: %q, error %v", class, i, got, err)
			}
		}
	}
	only, err := SealTo(recipients[1:2], secret)
	if err != nil || len(only) != 1 || only[Classic] == nil {
		t.Errorf("a classic recipient alone: %d files (%v)", len(only), err)
	}
	if got, err := OpenSealed(encrypt(t, make([]byte, 1<<20), h.Recipient()), []age.Identity{h}); err != nil || len(got) > MaxKeyFile {
		t.Errorf("a huge key file yields %d bytes (%v)", len(got), err)
	}
}
