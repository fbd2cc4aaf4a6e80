package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"lifeboat/bundle"
	"lifeboat/config"
	"lifeboat/evidence"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
)

// drillNames gives what stands in public records the names that the configuration has; others stay as they are.
func (a *app) drillNames(r *repository.Reader) func(opaque string) string {
	names, hasher := map[string]string{}, r.IDs.NewHasher()
	if cfg, err := a.config(); err == nil {
		for _, s := range cfg.Sources {
			names[hasher.Source(s.Name)] = s.Name
		}
		for _, t := range cfg.Targets {
			names[hasher.Source(repository.OpaqueTarget+t.Name)] = t.Name
		}
	}
	return func(opaque string) string {
		if name, ok := names[opaque]; ok {
			return name
		}
		return opaque
	}
}

func (a *app) drillShow() *cobra.Command {
	var x access
	var page, save, lang string
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show the report of a drill, or write it as a page for people",
		Long:  "ID is that of a drill, the first digits of its report's SHA-256, or latest. On the host that made the drill no identity is needed.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			envelope, err := a.findReport(c.Context(), x, args[0])
			if err != nil {
				return err
			}
			o, err := evidence.Open(envelope, "")
			if err != nil {
				return verdictError{err}
			}
			if save != "" {
				if err := a.replaceOwn(save, envelope, []byte(evidence.PayloadType)); err != nil {
					return err
				}
			}
			if page != "" {
				var b bytes.Buffer
				if err := evidence.Page(&b, o, lang); err != nil {
					return usageError{err}
				}
				if err := a.replaceOwn(page, b.Bytes(), []byte("lifeboat drill")); err != nil {
					return err
				}
			}
			switch {
			case a.json:
				return a.printJSON(o.Report)
			case save != "" || page != "":
				return nil
			}
			return a.summary(&drilled{o.Report, o.Digest, nil})
		},
	}
	x.flags(c)
	f := c.Flags()
	f.StringVar(&page, "html", "", "write the report to `FILE` as a page that stands alone")
	f.StringVar(&save, "save", "", "write the signed report itself to `FILE`, for lifeboat drill verify")
	f.StringVar(&lang, "lang", "en", "`LANGUAGE` of the page: en or zh-CN")
	return a.jsonFlag(c)
}

// replaceOwn writes a file; one that is there already is replaced only if it is of the same kind.
func (a *app) replaceOwn(path string, content, mark []byte) error {
	old, err := config.Read(path)
	if err == nil && !bytes.Contains(old, mark) {
		return fmt.Errorf("%w: write %s: it is there already, and is something else: choose another name", restore.ErrRefused, path)
	}
	if err != nil && !absent(err) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.Write(path, content, 0o600)
}

// findReport finds the report of a drill by its ID, or the beginning of its digest.
func (a *app) findReport(ctx context.Context, x access, id string) ([]byte, error) {
	r, all, err := a.knownDrills(ctx, x)
	if err != nil {
		return nil, err
	}
	defer leave(r)
	var unread error
	for i := len(all) - 1; i >= 0; i-- {
		d := all[i]
		named := id == "latest" || len(id) >= 8 && strings.HasPrefix(d.Report, id)
		if !named && strings.Trim(id, "0123456789abcdef") == "" {
			continue // a digest of another
		}
		envelope, err := r.ReadReport(ctx, a.stateDir(), d)
		if err != nil {
			if unread = err; named {
				return nil, err
			}
			continue
		}
		if o, err := evidence.Open(envelope, ""); named || err == nil && o.Report.ID == id {
			return envelope, nil
		}
	}
	if unread != nil {
		return nil, fmt.Errorf("no report that can be read here has the ID %s: %w", id, unread)
	}
	return nil, fmt.Errorf("%w: there is no drill %s: `lifeboat drill list` lists them", restore.ErrRefused, id)
}

func (a *app) drillVerify() *cobra.Command {
	var trust string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a signed report or a bundle, offline, with nothing but the fingerprint of the repository",
		Long: "Verifies the signature of a report and the root's word for its key, or all of a bundle. --trust is the fingerprint that you have from elsewhere: without it, all\n" +
			"that is known is that one root made everything. That no report was left out only a bundle shows; lifeboat-verify also compares it with checkpoints that you kept.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if is, err := a.verifyBundle(args[0], trust); is || err != nil {
				return err
			}
			b, err := readBounded(args[0], evidence.MaxEnvelope)
			if err != nil {
				return err
			}
			o, err := evidence.Open(b, trust)
			if err != nil {
				return verdictError{fmt.Errorf("%s: %w", args[0], err)}
			}
			if a.json {
				return a.printJSON(map[string]any{"verified": true, "origin_verified": o.Trusted, "report_sha256": o.Digest, "fingerprint": o.Report.Environment.Fingerprint, "id": o.Report.ID, "result": o.Report.Result})
			}
			origin := "origin unverified: compare it with what you were given beforehand, or repeat with --trust FINGERPRINT"
			if o.Trusted {
				origin = "as you trust it"
			}
			_, err = fmt.Fprintf(a.out, "%s: signed and unaltered\ndrill       %s of %s, issued %s, result %s\nreport      %s\nfingerprint %s (%s)\n", args[0], o.Report.ID, o.Report.Policy.Source,
				o.Report.Issued.UTC().Format(restore.Time), o.Report.Result, o.Digest, o.Report.Environment.Fingerprint, origin)
			return err
		},
	}
	c.Flags().StringVar(&trust, "trust", "", "the `FINGERPRINT` that the repository must have")
	return a.jsonFlag(c)
}

// verifyBundle verifies a bundle, and reports whether the file is one.
func (a *app) verifyBundle(path, trust string) (is bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	var head [4]byte
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	if n, _ := f.ReadAt(head[:], 0); !bundle.Is(head[:n]) { // what cannot be read is no bundle
		return false, nil
	}
	r, err := bundle.Verify(f, info.Size(), bundle.Options{Trust: trust})
	if err != nil {
		return true, verdictError{fmt.Errorf("%s: %w", path, err)}
	}
	if a.json {
		err = a.printJSON(r)
	} else {
		err = r.Write(a.out)
	}
	if err == nil && r.Verdict != bundle.Verified {
		err = verdictError{fmt.Errorf("%s is not what it should be: %s", path, r.Verdict)}
	}
	return true, err
}

// readBounded reads a file that somebody handed over.
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%w: read %s: it is no file, or larger than %d bytes", restore.ErrRefused, path, most)
	}
	return os.ReadFile(path)
}

func (a *app) drillReview() *cobra.Command {
	var x access
	var as, text string
	c := &cobra.Command{
		Use:   "review ID --as NAME --note TEXT",
		Short: "Record that somebody else than who ran it has read the report of a drill",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if as == "" || text == "" {
				return usagef("who has read it, and what of it: --as NAME --note TEXT")
			}
			envelope, err := a.findReport(c.Context(), x, args[0])
			if err != nil {
				return err
			}
			o, err := evidence.Open(envelope, "")
			if err != nil {
				return verdictError{err}
			}
			if ran := o.Report.Trigger.By; o.Report.Trigger.Kind == manualDrill && (bundle.SamePerson(ran, by()) || bundle.SamePerson(ran, as)) {
				return fmt.Errorf("%w: %s ran this drill: somebody else has to review it", restore.ErrRefused, ran)
			}
			now := a.now().UTC()
			err = repository.Note(a.cfg.StateDir, repository.Noted{Record: journal.Record{Type: journal.Review, By: by(), From: origin(), Reason: text, Happened: &now, Review: &journal.ReviewBody{Report: o.Digest, As: as}}})
			if err != nil {
				return err
			}
			a.unrecorded("review", a.recordNoted(c.Context(), x))
			_, err = fmt.Fprintf(a.out, "reviewed: %s by %s\n", o.Report.ID, as)
			return err
		},
	}
	x.flags(c)
	c.Flags().StringVar(&as, "as", "", "`NAME` of who has read it")
	c.Flags().StringVar(&text, "note", "", "`TEXT` of what they found, which everybody can read")
	return c
}
