package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"lifeboat/journal"
	"lifeboat/repository"
)

func (a *app) auditCheckpoint() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print a signed checkpoint of the journal, to be kept elsewhere",
		Long: "Prints a signed checkpoint (C2SP tlog-checkpoint) of the journal as this host knows it. Kept where nobody who runs this host can change it, in a mailbox of\n" +
			"an auditor or on paper, it shows later by `lifeboat audit verify --checkpoint FILE` that no record was taken away or changed since.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, r, err := a.reader(c.Context(), access{})
			if err != nil {
				return err
			}
			signed, err := a.checkpoint(r)
			if err == nil {
				_, err = a.out.Write(signed)
			}
			return err
		},
	}
}

// checkpoint signs how the journal reads now, which only the backup host can.
func (a *app) checkpoint(r *repository.Reader) ([]byte, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return repository.Checkpoint(cfg.StateDir, r.Chain)
}

func (a *app) auditProve() *cobra.Command {
	var x access
	var kept string
	c := &cobra.Command{
		Use:   "prove RECORD",
		Short: "Print a proof that a record is in the journal of a checkpoint",
		Long: "Prints a proof (C2SP tlog-proof) that a record is among those of a checkpoint: a new one, which only the backup host can sign, or the one in a file. With the\n" +
			"proof, the bytes of the record and the writer's key, anybody can verify that without the rest of the journal.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			seq, err := recordNumber(args[0])
			if err != nil {
				return err
			}
			signed, err := a.keptCheckpoint(kept)
			if err != nil {
				return err
			}
			_, r, err := a.reader(c.Context(), x)
			if err == nil && signed == nil {
				signed, err = a.checkpoint(r)
			}
			if err != nil {
				return err
			}
			if seq > r.Chain.Len() {
				return usagef("there is no record %d: the journal ends with %d", seq, r.Chain.Len())
			}
			proof, err := r.Chain.Prove(seq, signed)
			if err != nil {
				return proofError(err)
			}
			_, err = a.out.Write(proof)
			return err
		},
	}
	x.flags(c)
	c.Flags().StringVar(&kept, "checkpoint", "", "prove it for the checkpoint in this `FILE`; - reads it from the input")
	return c
}

// proofError tells what a checkpoint shows to be wrong with the journal from one that does not serve.
func proofError(err error) error {
	if errors.Is(err, journal.ErrBroken) {
		return verdictError{err}
	}
	return usageError{err}
}

// recordNumber reads the number of a record.
func recordNumber(s string) (uint64, error) {
	seq, err := strconv.ParseUint(s, 10, 62)
	if err != nil || seq == 0 {
		return 0, usagef("%q is not the number of a record: `lifeboat audit log` lists them", s)
	}
	return seq, nil
}

func (a *app) auditDocument() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "document RECORD",
		Short: "Print the document of a record: a policy as it read, a drill's report",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			seq, err := recordNumber(args[0])
			if err != nil {
				return err
			}
			text, err := a.document(c.Context(), x, seq)
			if err == nil {
				_, err = a.out.Write(text)
			}
			return err
		},
	}
	x.flags(c)
	return c
}

func (a *app) document(ctx context.Context, x access, seq uint64) ([]byte, error) {
	_, r, err := a.reader(ctx, x)
	if err != nil {
		return nil, err
	}
	if seq > r.Chain.Len() {
		return nil, usagef("there is no record %d: the journal ends with %d", seq, r.Chain.Len())
	}
	e := r.Chain.Entries()[seq-1]
	if _, ok := e.Document(); !ok {
		return nil, usagef("record %d is a %s and has no document", seq, e.Type)
	}
	if err := a.unlock(ctx, x, r, true); err != nil {
		return nil, err
	}
	text, err := r.Document(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("audit document: %w", err)
	}
	return text, nil
}
