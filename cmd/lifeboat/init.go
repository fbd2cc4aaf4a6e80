package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/repository"
)

func (a *app) initialise() *cobra.Command {
	var takeOver, yes bool
	var x access
	c := &cobra.Command{
		Use:   "init",
		Short: "Prepare the state directory and every target",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			recipients, err := a.recipients()
			if err != nil {
				return err
			}
			cfg, err := a.hostConfig(c.Context(), false)
			if err != nil {
				return err
			}
			if !takeOver {
				if err := a.refill(c.Context(), cfg, yes); err != nil {
					return err
				}
				h, err := repository.Init(c.Context(), cfg, recipients)
				if err != nil {
					return err
				}
				return errors.Join(a.initialised(h, recipients, x), h.Close())
			}
			ids, err := a.identities(x)
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				return fmt.Errorf("%w: a take-over needs the identity: --identity FILE", crypto.ErrIdentity)
			}
			h, err := repository.TakeOver(c.Context(), cfg, recipients, ids, func(r *repository.Reader) error { return a.trustSheet(x, r) })
			if err != nil {
				return err
			}
			a.note("this host is the writer now; the former one is refused from here on")
			return errors.Join(a.initialised(h, recipients, x), h.Close())
		},
	}
	c.Flags().BoolVar(&takeOver, "take-over", false, "adopt the repository that the targets hold, in place of its former host")
	c.Flags().BoolVar(&yes, "yes", false, "make copies anew that are gone, without asking")
	c.Flags().StringVar(&x.trust, "trust", "", "with --take-over: refuse any repository but the one with this `FINGERPRINT`")
	c.Flags().StringVar(&x.identity, "identity", "", "identity `FILE`: opens the repository for --take-over; the fingerprint is noted in it")
	return c
}

// trustSheet is trust for a take-over: from then on this host backs up to what it adopts, so the copy's origin must be
// known from elsewhere, and what the state directory held does not count.
func (a *app) trustSheet(x access, r *repository.Reader) error {
	if _, noted := a.notedFingerprints(identityPath(x))[r.Chain.Repository().String()]; !noted && x.trust == "" {
		return fmt.Errorf("%w: nothing says that this copy is genuine: give the fingerprint on the recovery sheet to --trust", errTrust)
	}
	return a.trust(x, r)
}

// refill makes the directories of new targets. A target that was prepared earlier and is empty now is made anew only when
// someone says so: more often its disk is not mounted, and the copy would fill the disk below.
func (a *app) refill(ctx context.Context, c repository.Config, yes bool) error {
	known, err := repository.Prepared(c.StateDir)
	if err != nil {
		return err
	}
	for i, t := range a.cfg.Targets {
		copied := c.Copies[i]
		if copied.Err != nil && !absent(copied.Err) {
			continue // Init reports it
		}
		if known[t.Name] && (copied.Err != nil || repository.Empty(ctx, copied.Target)) {
			if err := a.confirm(yes, fmt.Sprintf("Target %s held a copy and is empty now. Is its disk mounted, and shall the copy be made anew?", t.Name)); err != nil {
				return fmt.Errorf("target %s held a copy and is empty now; is its disk mounted? %w", t.Name, err)
			}
		}
		if copied.Err != nil {
			copied.Target, copied.Err = a.openTarget(ctx, t, true)
		}
	}
	return apart(a.cfg, c.Copies) // only now is it known where a new directory is
}

// recipients reads who can restore from the configuration.
func (a *app) recipients() ([]crypto.Recipient, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	texts := cfg.Keys.Recipients
	if f := cfg.Keys.RecipientsFile; f != "" {
		b, err := config.Read(f)
		if err != nil {
			return nil, usagef("read keys.recipients_file: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				texts = append(texts, line)
			}
		}
	}
	r, err := crypto.ParseRecipients(texts, pluginUI())
	if err != nil {
		return nil, usageError{err}
	}
	for _, text := range cfg.Keys.Readers {
		reader, err := crypto.ParseRecipient(text, pluginUI())
		if err != nil {
			return nil, usageError{fmt.Errorf("keys.readers: %w", err)}
		}
		if reader.Reads = true; slices.ContainsFunc(r, func(other crypto.Recipient) bool { return other.Text == reader.Text }) {
			return nil, usagef("the recipient %.24q... is under keys.readers, and elsewhere under keys: keep it at one place", reader.Text)
		}
		r = append(r, reader)
	}
	return r, nil
}

func (a *app) initialised(h *repository.Host, recipients []crypto.Recipient, x access) error {
	r := repository.Reader{Chain: h.Chain()}
	fingerprint, err := r.Fingerprint()
	if err != nil {
		return err
	}
	for _, r := range recipients {
		if r.Class == crypto.Classic {
			a.note("warning: recipient %s is classic: what it can open is not protected against a future quantum computer", r.Text)
		}
	}
	fmt.Fprintf(a.out, "repository  %s\nfingerprint %s\nstate       %s\n", h.Chain().Repository(), fingerprint, a.cfg.StateDir)
	missed := 0
	for _, c := range h.Copies {
		state := "ready"
		if c.Err != nil {
			state = c.Err.Error()
			missed++
		}
		fmt.Fprintf(a.out, "target      %s: %s\n", c.Name, state)
		for _, w := range c.Weak {
			a.note("warning: target %s: %s", c.Name, w)
		}
	}
	a.note("Write the fingerprint on your recovery sheet: it is how a restore knows that a copy is genuine.")
	if x.identity == "" {
		a.note("In an identity file, this line does the same:\n%s", noteLine(h, fingerprint))
	} else if err := noteFingerprint(x.identity, noteLine(h, fingerprint)); err != nil {
		return err
	}
	if missed > 0 {
		return verdictError{fmt.Errorf("%s missed: repair and repeat `lifeboat init`", english.Plural(missed, "target was", "targets were"))}
	}
	return nil
}

func noteLine(h *repository.Host, fingerprint string) string {
	return fmt.Sprintf("# lifeboat: repository %s has fingerprint %s", h.Chain().Repository(), fingerprint)
}

// noteFingerprint appends the line to an identity file unless it is there.
func noteFingerprint(path, line string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("note the fingerprint: %w", err)
	}
	if strings.Contains(string(b), line) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("note the fingerprint: %w", err)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		line = "\n" + line
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
