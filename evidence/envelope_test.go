package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
)

func TestRoundTrip(t *testing.T) {
	for i, role := range []crypto.Role{crypto.Writer, "drill-1", "drill-2"} {
		k := newKeys(t, byte(i+1), role)
		r := k.full(t)
		b := sign(t, k, r)
		if !bytes.Equal(b, sign(t, k, r)) {
			t.Error("two envelopes of one report differ")
		}
		for _, trust := range []string{"", k.fingerprint(t), " " + k.fingerprint(t) + "\n"} {
			o, err := Open(b, trust)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(o.Report, r) {
				t.Errorf("%s: another report came back:\n%+v", role, o.Report)
			}
			if o.Trusted != (trust != "") || o.Digest != Digest(b) || o.Digest != hash(string(b)) || o.Certificate.Role != role {
				t.Errorf("%s: trusted %v, digest %s, certificate %+v", role, o.Trusted, o.Digest, o.Certificate)
			}
		}
	}
}

// TestEnvelope reads an envelope as another program would: the format is DSSE, whatever this package thinks.
func TestEnvelope(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	var e struct {
		PayloadType, Payload string
		Signatures           []struct{ KeyID, Sig string }
	}
	must(t, json.Unmarshal(sign(t, k, k.small(t)), &e))
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	must(t, err)
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	must(t, err)
	v, err := note.NewVerifier(k.key)
	must(t, err)
	const kind = "application/vnd.lifeboat.drill-report+json"
	if !v.Verify(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload), sig) || e.PayloadType != kind || len(e.Signatures) != 1 {
		t.Errorf("not signed as DSSE says: %+v", e)
	}
	if want := strings.Join(strings.Split(k.key, "+")[:2], "+"); e.Signatures[0].KeyID != want {
		t.Errorf("the key is named %q, not %q", e.Signatures[0].KeyID, want)
	}
}

func TestEveryByteCounts(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	b := sign(t, k, k.small(t))
	for i := range b {
		if i > 200 && i < len(b)-500 && i%7 != 0 { // inside of the payload, which is one text of base64
			continue
		}
		flip := []byte{1, 0x20}[i%2] // the second turns a letter's case
		b[i] ^= flip
		if _, err := Open(b, ""); !errors.Is(err, ErrForged) {
			t.Errorf("byte %d of %d changed to %q: %v", i, len(b), b[i], err)
		}
		b[i] ^= flip
	}
	for _, n := range []int{0, 1, len(b) / 2, len(b) - 1} {
		if _, err := Open(b[:n], ""); !errors.Is(err, ErrForged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

// seal signs a payload that Sign would not make.
func seal(t testing.TB, k keys, payload []byte, change func(*dsse.Envelope)) []byte {
	t.Helper()
	s, err := newSigningKey(k.key, k.seed)
	must(t, err)
	signer, err := dsse.NewEnvelopeSigner(s)
	must(t, err)
	e, err := signer.SignPayload(t.Context(), PayloadType, payload)
	must(t, err)
	if change != nil {
		change(e)
	}
	b, err := canonical(e)
	must(t, err)
	return b
}

func TestForged(t *testing.T) {
	k, other := newKeys(t, 1, crypto.Writer), newKeys(t, 2, crypto.Writer)
	drill, clerk := newKeys(t, 1, "drill-1"), newKeys(t, 1, "clerk")
	good := k.small(t)
	changed := func(change func(r *Report)) []byte {
		r := k.small(t)
		change(r)
		b, err := canonical(r)
		must(t, err)
		return seal(t, k, b, nil)
	}
	payload, err := canonical(good)
	must(t, err)
	var capitals map[string]any // which Go takes for the field, and others do not
	must(t, json.Unmarshal(payload, &capitals))
	capitals["Result"] = "pass"
	delete(capitals, "result")
	respelt := func(old, with string) []byte {
		b := bytes.Replace(payload, []byte(old), []byte(with), 1)
		if bytes.Equal(b, payload) {
			t.Fatalf("no %q in the payload", old)
		}
		return seal(t, k, b, nil)
	}
	for name, x := range map[string]struct {
		envelope []byte
		trust    string
		want     string
	}{
		"nothing":                 {nil, "", "not a DSSE envelope"},
		"too large":               {bytes.Repeat([]byte(" "), MaxEnvelope+1), "", "more than 8388608 bytes"},
		"another kind of content": {seal(t, k, payload, func(e *dsse.Envelope) { e.PayloadType = "text/plain" }), "", "the envelope holds"},
		"two signatures":          {seal(t, k, payload, func(e *dsse.Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) }), "", "2 signatures"},
		"no signature":            {seal(t, k, payload, func(e *dsse.Envelope) { e.Signatures = nil }), "", "0 signatures"},
		"no name of a key":        {seal(t, k, payload, func(e *dsse.Envelope) { e.Signatures[0].KeyID = "" }), "", "the report names"},
		"another alphabet": {seal(t, k, payload, func(e *dsse.Envelope) {
			e.Signatures[0].Sig = strings.NewReplacer("+", "-", "/", "_").Replace(e.Signatures[0].Sig)
		}), "", "signature of the envelope"},
		"an envelope with a space": {append(seal(t, k, payload, nil), ' '), "", "canonical"},
		"another key":              {seal(t, keys{key: other.key, seed: other.seed}, payload, nil), "", "the report names"},
		"the certificate of another key": {changed(func(r *Report) {
			r.Signer.Certificate = drill.certificate
		}), "", "another key"},
		"the certificate of another repository": {changed(func(r *Report) { r.Signer.Certificate = other.certificate }), "", "not by the root key"},
		"the root of another repository":        {changed(func(r *Report) { r.Signer.Root, r.Signer.Certificate = other.root, other.certificate }), "", "root verifier key is for"},
		"another repository":                    {changed(func(r *Report) { r.Environment.Repository = other.repository.String() }), "", "root verifier key is for"},
		"no repository":                         {changed(func(r *Report) { r.Environment.Repository = "crm" }), "", "identifier of its repository"},
		"a role that must not":                  {seal(t, clerk, mustCanonical(t, clerk.small(t)), nil), "", `certified as "clerk"`},
		"the fingerprint of another root":       {changed(func(r *Report) { r.Environment.Fingerprint = other.fingerprint(t) }), "", "the report states"},
		"trust in another root":                 {sign(t, k, good), other.fingerprint(t), "and you trust"},
		"another schema":                        {changed(func(r *Report) { r.Schema = "lifeboat/drill-report/2" }), "", "its schema is"},
		"a checkpoint of another position":      {changed(func(r *Report) { r.Log.Records++ }), "", "another position"},
		"a checkpoint by another key":           {changed(func(r *Report) { r.Log.Checkpoint = other.small(t).Log.Checkpoint }), "", "not signed by the key"},
		"a payload with a space":                {seal(t, k, append([]byte(" "), payload...), nil), "", "RFC 8785"},
		"fields in another order":               {respelt(`{"backup":`, `{"zebra":1,"backup":`), "", "RFC 8785"},
		"a field twice":                         {respelt(`"id":"d-1",`, `"id":"d-1","id":"d-2",`), "", "RFC 8785"},
		"a field that is missing":               {respelt(`"result":"inconclusive",`, ``), "", "its field result"},
		"a field in capitals":                   {seal(t, k, mustCanonical(t, capitals), nil), "", "its field result"},
		"a time that is spelt otherwise":        {respelt(`02:30:00Z`, `02:30:00.0Z`), "", "its field issued"},
		"a list for a text":                     {respelt(`"id":"d-1"`, `"id":["d-1"]`), "", "read report"},
	} {
		_, err := Open(x.envelope, x.trust)
		if !errors.Is(err, ErrForged) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}

func mustCanonical(t testing.TB, v any) []byte {
	t.Helper()
	b, err := canonical(v)
	must(t, err)
	return b
}

// TestNewerReport has a field that this version does not know: it stays readable.
func TestNewerReport(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	b := bytes.Replace(mustCanonical(t, k.small(t)), []byte(`"signer":{`), []byte(`"signature_of_reviewer":"later","signer":{`), 1)
	o, err := Open(seal(t, k, b, nil), "")
	if err != nil || o.Report.ID != "d-1" || !bytes.Equal(o.Payload, b) {
		t.Errorf("%+v, error %v", o, err)
	}
}

func TestSignRefuses(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	for name, x := range map[string]struct {
		change func(r *Report)
		seed   []byte
	}{
		"no schema":           {func(r *Report) { r.Schema = "" }, k.seed},
		"another secret":      {func(*Report) {}, bytes.Repeat([]byte{9}, 32)},
		"half a secret":       {func(*Report) {}, k.seed[:16]},
		"no key":              {func(r *Report) { r.Signer.Key = "" }, k.seed},
		"a size beyond JSON":  {func(r *Report) { r.Backup.Size = 1<<53 + 1 }, k.seed},
		"no number":           {func(r *Report) { r.Projection = &Projection{Error: math.NaN()} }, k.seed},
		"more than is opened": {func(r *Report) { r.Errors = []string{strings.Repeat("x", MaxEnvelope)} }, k.seed},
	} {
		r := k.small(t)
		x.change(r)
		b, err := Sign(r, x.seed)
		if err == nil {
			t.Errorf("%s: signed as %.80s", name, b)
		}
		if err != nil && strings.Contains(err.Error(), string(x.seed)) {
			t.Errorf("%s: the error has the secret", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := newKeys(f, 1, crypto.Writer)
	good := sign(f, k, k.small(f))
	f.Add(good)
	f.Add(sign(f, k, k.full(f)))
	f.Add([]byte(`{"payload":"e30=","payloadType":"application/vnd.lifeboat.drill-report+json","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Open(b, "")
		if err != nil {
			if !errors.Is(err, ErrForged) {
				t.Errorf("not ErrForged: %v", err)
			}
			return
		}
		again, err := Open(b, o.Report.Environment.Fingerprint)
		if err != nil || !again.Trusted {
			t.Errorf("opened, and not again: %v", err)
		}
		for _, lang := range Languages() {
			render(t, o, lang)
		}
	})
}

// FuzzDecode is of what a signer could sign, who is not trusted to write what Sign writes.
func FuzzDecode(f *testing.F) {
	k := newKeys(f, 1, crypto.Writer)
	f.Add(mustCanonical(f, k.small(f)))
	f.Add(mustCanonical(f, k.full(f)))
	f.Add([]byte(`{"schema":"lifeboat/drill-report/1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(r)
		if err != nil {
			t.Fatalf("read, and not written: %v", err)
		}
		if back, err := decode(again); err != nil || !bytes.Equal(mustCanonical(t, back), again) {
			t.Errorf("another report came back: %v", err)
		}
		for _, lang := range Languages() {
			render(t, &Opened{Report: r}, lang)
		}
	})
}
