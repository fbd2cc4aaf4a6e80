package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"filippo.io/age"
)

func generate(t testing.TB) (RootSecret, HostSecrets, EpochSecret) {
	t.Helper()
	root, host, epoch, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	return root, host, epoch
}

func TestSecretsRoundTrip(t *testing.T) {
	root, host, epoch := generate(t)
	encode := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if got, err := ParseRootSecret(encode(root)); err != nil || !reflect.DeepEqual(*got, root) {
		t.Errorf("root: %v", err)
	}
	if got, err := ParseHostSecrets(encode(host)); err != nil || !reflect.DeepEqual(*got, host) {
		t.Errorf("host: %v", err)
	}
	if got, err := ParseEpochSecret(encode(epoch)); err != nil || !reflect.DeepEqual(*got, epoch) {
		t.Errorf("epoch: %v", err)
	}
	for name, parse := range map[string]func([]byte) error{
		"root": func(b []byte) error { _, err := ParseRootSecret(b); return err },
		"host": func(b []byte) error { _, err := ParseHostSecrets(b); return err },
		"epoch": func(b []byte) error {
			e, err := ParseEpochSecret(b)
			if err == nil {
				_, _, err = e.Open()
			}
			return err
		},
	} {
		for other, v := range map[string]any{"root": root, "host": host, "epoch": epoch} {
			b := encode(v)
			if err := parse(b); (err == nil) != (name == other) {
				t.Errorf("the %s secret parsed as %s: %v", other, name, err)
			}
			if err := parse(b[:len(b)-1]); err == nil {
				t.Errorf("%s: cut short", name)
			}
		}
		if err := parse(append(encode(host), make([]byte, MaxKeyFile)...)); err == nil {
			t.Errorf("%s: too long", name)
		}
	}
}

func TestDamagedSecrets(t *testing.T) {
	_, host, epoch := generate(t)
	for name, damage := range map[string]func(*HostSecrets){
		"id key":     func(h *HostSecrets) { h.IDKey = h.IDKey[1:] },
		"recipient":  func(h *HostSecrets) { h.EpochRecipient = h.EpochRecipient[:50] },
		"identity":   func(h *HostSecrets) { h.IndexIdentity = epoch.Identity[:50] },
		"polynomial": func(h *HostSecrets) { h.Polynomial = 4 },
	} {
		h := host
		damage(&h)
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseHostSecrets(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	e := epoch
	e.Identity = "AGE-SECRET-KEY-1"
	if _, _, err := e.Open(); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("epoch identity: %v", err)
	}
	if _, _, err := (&EpochSecret{Identity: epoch.Identity, IDKey: []byte("short")}).Open(); err == nil {
		t.Error("epoch with a short ID key")
	}
}

// TestKeysFit makes sure who can read what: the epoch reads all, the host its own class only.
func TestKeysFit(t *testing.T) {
	_, host, epoch := generate(t)
	keys, err := host.Keys()
	if err != nil {
		t.Fatal(err)
	}
	identity, ids, err := epoch.Open()
	if err != nil {
		t.Fatal(err)
	}
	if ids.NewHasher().Stream(nil) != keys.IDs.NewHasher().Stream(nil) {
		t.Error("host and epoch compute different IDs")
	}
	for class, recipients := range map[string][]age.Recipient{"sealed": keys.Sealed, "host": keys.Host} {
		sealed, err := sealer(t, recipients...).Seal(nil, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := opener(t, identity).Open(nil, sealed); err != nil {
			t.Errorf("the epoch cannot read a %s frame: %v", class, err)
		}
		if _, err := opener(t, keys.Index).Open(nil, sealed); (err == nil) != (class == "host") {
			t.Errorf("the host reads a %s frame: %v", class, err)
		}
	}
}

// TestSecretsDoNotPrint looks for every secret in everything that fmt and slog make of what holds them.
func TestSecretsDoNotPrint(t *testing.T) {
	root, host, epoch := generate(t)
	keys, err := host.Keys()
	if err != nil {
		t.Fatal(err)
	}
	var needles []string
	for _, secret := range [][]byte{root.Seed, host.IDKey, host.SigningSeed} {
		plain := strings.Trim(fmt.Sprintf("%d", secret), "[]")
		goSyntax := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}")
		needles = append(needles, plain[:30], goSyntax[:30], hex.EncodeToString(secret)[:16], base64.StdEncoding.EncodeToString(secret)[:16], string(secret[:8]))
	}
	needles = append(needles, host.IndexIdentity[20:40], epoch.Identity[20:40])
	for _, v := range []any{root, &root, host, &host, epoch, &epoch, *keys, keys, keys.IDs, &keys.IDs, struct{ Inner any }{host}, struct{ Keys HostKeys }{*keys}, []EpochSecret{epoch}, map[string]RootSecret{"r": root}} {
		var text strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		text.Write(log.Bytes())
		for _, n := range needles {
			if strings.Contains(text.String(), n) {
				t.Errorf("%T prints a secret", v)
			}
		}
		if log.Reset(); reflect.ValueOf(v).Type().Implements(reflect.TypeFor[slog.LogValuer]()) {
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
			for _, n := range needles {
				if strings.Contains(log.String(), n) {
					t.Errorf("%T logs a secret as JSON", v)
				}
			}
		}
	}
}
