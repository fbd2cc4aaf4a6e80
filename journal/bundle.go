package journal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"lifeboat/crypto"
	"lifeboat/target"
)

// bundleSize is how many records a bundle repeats.
const bundleSize = 256

func bundleName(last uint64) string { return fmt.Sprintf("%sbundle-%012d", prefix, last) }

// bundle makes the bundle that ends with record last, a multiple of bundleSize.
func (c *Chain) bundle(last uint64, s note.Signer) ([]byte, error) {
	var b bytes.Buffer
	for _, e := range c.entries[last-bundleSize : last] {
		fmt.Fprintf(&b, "%d %d\n", e.Seq, len(e.Raw))
		b.Write(e.Raw)
	}
	text, err := c.checkpoint(last)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint %d: %w", last, err)
	}
	fmt.Fprintf(&b, "checkpoint %d\n", len(signed))
	b.Write(signed)
	if b.Len() > maxBundle {
		return nil, nil // the single records serve
	}
	return b.Bytes(), nil
}

// checkpoint is the text of a C2SP checkpoint over the first size records.
func (c *Chain) checkpoint(size uint64) (string, error) {
	root, err := c.Root(size)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s\n%d\n%s\n", crypto.KeyName(c.repository, c.Role()), size, base64.StdEncoding.EncodeToString(root[:])), nil
}

// Root is the RFC 6962 Merkle tree hash over the first size records.
func (c *Chain) Root(size uint64) (tlog.Hash, error) {
	return tlog.TreeHash(int64(size), tlog.HashReaderFunc(c.readHashes))
}

// readHashes returns hashes of the Merkle tree in the order in which they are stored.
func (c *Chain) readHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = c.hashes[x]
	}
	return out, nil
}

// appendBundle verifies a bundle and takes its records in; on an error the chain is not to be used.
func (c *Chain) appendBundle(b []byte) error {
	last := c.Len() + bundleSize
	for c.Len() < last {
		raw, rest, err := cut(b, "%d %d\n", c.Len()+1)
		if err != nil {
			return err
		}
		if err := c.Append(raw); err != nil {
			return err
		}
		b = rest
	}
	signed, rest, err := cut(b, "checkpoint %d\n")
	if err != nil || len(rest) != 0 {
		return fmt.Errorf("bundle %d: no checkpoint at its end: %w", last, ErrBroken)
	}
	n, err := note.Open(signed, note.VerifierList(c.writer))
	var later *note.UnverifiedNoteError
	if errors.As(err, &later) {
		// A host that took over writes the bundles of a new copy with its own key, which this chain may not know yet. Nothing
		// hangs on the key: every record verified by itself.
		n, err = later.Note, nil
	}
	if err != nil {
		return fmt.Errorf("bundle %d: %w: %w", last, ErrBroken, err)
	}
	want, err := c.checkpoint(last)
	if err != nil {
		return err
	}
	if n.Text != want {
		return fmt.Errorf("bundle %d: the checkpoint is for other records: %w", last, ErrBroken)
	}
	return nil
}

// cut reads a header line, which must have the given values before its length, and as many bytes behind it.
func cut(b []byte, format string, values ...any) (body, rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	at := bytes.LastIndexByte(line, ' ')
	if !ok || at < 0 || len(line) > 64 {
		return nil, nil, fmt.Errorf("bundle: no header: %w", ErrBroken)
	}
	var n int
	if _, err := fmt.Sscanf(string(line[at+1:]), "%d", &n); err != nil {
		return nil, nil, errors.Join(ErrBroken, err)
	}
	if want := fmt.Sprintf(format, append(values, n)...); string(line)+"\n" != want || n < 0 || n > len(rest) {
		return nil, nil, fmt.Errorf("bundle: header %q: %w", line, ErrBroken)
	}
	return rest[:n], rest[n:], nil
}

// CheckBundles verifies the bundles of a copy against the chain and calls damaged for each that is missing or wrong.
func (c *Chain) CheckBundles(ctx context.Context, t target.Target, damaged func(name string, err error)) error {
	upTo := c.blank()
	for last := uint64(bundleSize); last < c.Len(); last += bundleSize {
		raw, err := target.Read(ctx, t, bundleName(last), maxBundle)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			next := *upTo
			err = next.appendBundle(raw)
		}
		if err != nil {
			damaged(bundleName(last), err)
		}
		for _, e := range c.entries[last-bundleSize : last] {
			if err := upTo.Append(e.Raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadBundle reads a bundle from a copy and verifies it against the chain.
func (c *Chain) ReadBundle(ctx context.Context, t target.Target, name string) ([]byte, error) {
	raw, err := target.Read(ctx, t, name, maxBundle)
	if err != nil {
		return nil, err
	}
	upTo := c.blank()
	for last := uint64(bundleSize); last < c.Len(); last += bundleSize {
		if bundleName(last) == name {
			return raw, upTo.appendBundle(raw)
		}
		for _, e := range c.entries[last-bundleSize : last] {
			if err := upTo.Append(e.Raw); err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("%s: no bundle of this journal: %w", name, ErrBroken)
}
