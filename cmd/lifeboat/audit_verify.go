package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/journal"
	"lifeboat/repository"
)

// verified is what a verification found, in JSON.
type verified struct {
	Records     uint64 `json:"records"`
	Head        string `json:"head"`
	Root        string `json:"merkle_root"`
	Fingerprint string `json:"fingerprint"`
	Verified    bool   `json:"verified"`
	Checkpoint  uint64 `json:"checkpoint,omitempty"` // how many records the one that was kept is of; it fits where verified is true
}

func (a *app) auditVerify() *cobra.Command {
	var x access
	var kept string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify every signature and the chain, and print the Merkle root",
		Long: "Verifies every signature and the chain of a copy, and prints the Merkle root. With --checkpoint, that the journal still begins with what it held when that\n" +
			"checkpoint was made: one that was rolled back, truncated or rewritten since is told, and the exit code is 3.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			signed, err := a.keptCheckpoint(kept)
			if err != nil {
				return err
			}
			name, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			row, bad, err := a.verifyChain(name, r, signed)
			if err != nil {
				return err
			}
			if err := a.printVerified(name, row); err != nil {
				return err
			}
			return bad
		},
	}
	x.flags(c)
	c.Flags().StringVar(&kept, "checkpoint", "", "compare with the checkpoint in this `FILE`, which was kept elsewhere; - reads it from the input")
	return a.jsonFlag(c)
}

// verifyChain compares the journal of a copy with all that is known of it; bad is what is wrong with it.
func (a *app) verifyChain(name string, r *repository.Reader, kept []byte) (row verified, bad, err error) {
	root, err := r.Chain.Root(r.Chain.Len())
	if err != nil {
		return row, nil, err
	}
	row = verified{Records: r.Chain.Len(), Head: r.Chain.Head(), Root: base64.StdEncoding.EncodeToString(root[:])}
	if row.Fingerprint, err = r.Fingerprint(); err != nil {
		return row, nil, err
	}
	if head, herr := a.head(); r.Broken != nil {
		bad = r.Broken
	} else if herr == nil && head.Seq > r.Chain.Len() {
		bad = fmt.Errorf("this host knows %d records, %s holds only %d of them: it is behind, or it was cut", head.Seq, name, r.Chain.Len())
	}
	if kept != nil {
		p, kerr := journal.VerifyCheckpoint(r.Chain, kept)
		if kerr != nil && !errors.Is(kerr, journal.ErrBroken) {
			return row, nil, usagef("--checkpoint: %w", kerr)
		}
		if row.Checkpoint = p.Size; kerr != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", name, kerr))
		}
	}
	row.Verified = r.Broken == nil && (kept == nil || bad == nil)
	if bad != nil {
		bad = verdictError{bad}
	}
	return row, bad, nil
}

func (a *app) printVerified(name string, v verified) error {
	if a.json {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintf(a.out, "%s: %s verified\nhead        %s\nmerkle root %s\nfingerprint %s\n", name, english.Plural(int(v.Records), "record", ""), v.Head, v.Root, v.Fingerprint)
	if err == nil && v.Checkpoint > 0 && v.Verified {
		_, err = fmt.Fprintf(a.out, "checkpoint  fits: the first %s are those of then\n", english.Plural(int(v.Checkpoint), "record", ""))
	}
	return err
}

// maxKept bounds a file with a checkpoint, in bytes.
const maxKept = 1 << 20

// keptCheckpoint reads a checkpoint that was kept; none where no file is named.
func (a *app) keptCheckpoint(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("--checkpoint: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxKept))
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint: %w", err)
	}
	if len(b) == 0 {
		return nil, usagef("--checkpoint: %s is empty", file)
	}
	return b, nil
}
