package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gowebpki/jcs"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// canonical is the only form in which a value is written: RFC 8785. Equal values are equal bytes, so that a digest names a value.
func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	out, err := jcs.Transform(b)
	if err != nil {
		return nil, fmt.Errorf("write canonical JSON: %w", err)
	}
	return out, nil
}

// encode is the payload of a report, of which nothing is lost.
func encode(r *Report) ([]byte, error) {
	payload, err := canonical(r)
	if err != nil {
		return nil, err
	}
	var back Report
	if err := json.Unmarshal(payload, &back); err != nil {
		return nil, fmt.Errorf("read it back: %w", err)
	}
	want, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	got, err := json.Marshal(&back)
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	if !bytes.Equal(got, want) {
		return nil, errors.New("a number in it is larger than JSON can hold (2^53)")
	}
	return payload, nil
}

// unwrap takes an envelope apart. Anybody could respell what its signature does not cover, so there is one spelling only.
func unwrap(envelope []byte) (*dsse.Envelope, []byte, error) {
	if len(envelope) > MaxEnvelope {
		return nil, nil, fmt.Errorf("the envelope takes more than %d bytes", MaxEnvelope)
	}
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, nil, fmt.Errorf("it is not a DSSE envelope: %w", err)
	}
	if e.PayloadType != PayloadType {
		return nil, nil, fmt.Errorf("the envelope holds %.100q, and not %q", e.PayloadType, PayloadType)
	}
	if len(e.Signatures) != 1 {
		return nil, nil, fmt.Errorf("the envelope has %d signatures, and must have one", len(e.Signatures))
	}
	payload, err := e.DecodeB64Payload()
	if err != nil {
		return nil, nil, fmt.Errorf("the content of the envelope: %w", err)
	}
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	if err != nil {
		return nil, nil, fmt.Errorf("the signature of the envelope: %w", err)
	}
	same := e
	same.Payload = base64.StdEncoding.EncodeToString(payload)
	same.Signatures = []dsse.Signature{{KeyID: e.Signatures[0].KeyID, Sig: base64.StdEncoding.EncodeToString(sig)}}
	if want, err := canonical(same); err != nil || !bytes.Equal(envelope, want) {
		return nil, nil, errors.New("the envelope is not in canonical form: something was added to it, or it was written anew")
	}
	return &e, payload, nil
}

// decode reads a payload that is canonical and says everything that a report says. Fields that this version does not know are left alone.
func decode(payload []byte) (*Report, error) {
	if same, err := jcs.Transform(payload); err != nil || !bytes.Equal(payload, same) {
		return nil, errors.New("the report is not in canonical form (RFC 8785)")
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if head.Schema != Schema {
		return nil, fmt.Errorf("its schema is %.100q, and this version of lifeboat reads %q", head.Schema, Schema)
	}
	r := &Report{}
	if err := json.Unmarshal(payload, r); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	mine, err := canonical(r)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var has, want any
	if err := errors.Join(json.Unmarshal(payload, &has), json.Unmarshal(mine, &want)); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if at := differs(has, want); at != "" {
		return nil, fmt.Errorf("its field %.100s is missing, or written in a way that others may read differently", at[1:])
	}
	return r, nil
}

// differs is the first path at which has does not say what want says; it may say more. Go reads fields whatever their capitals, takes absent ones for
// zero, and ignores how a time is spelt: other programs would see another report under the same signature.
func differs(has, want any) string {
	switch w := want.(type) {
	case map[string]any:
		h, ok := has.(map[string]any)
		for k, v := range w {
			in, there := h[k]
			if !ok || !there {
				return "." + k
			}
			if at := differs(in, v); at != "" {
				return "." + k + at
			}
		}
		return ""
	case []any:
		h, ok := has.([]any)
		if !ok || len(h) != len(w) {
			return " "
		}
		for i, v := range w {
			if at := differs(h[i], v); at != "" {
				return fmt.Sprintf("[%d]%s", i, at)
			}
		}
		return ""
	default:
		if has != want { // both are null, a string, a number or a boolean
			return " "
		}
		return ""
	}
}
