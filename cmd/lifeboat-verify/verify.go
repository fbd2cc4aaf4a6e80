package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"lifeboat/bundle"
	"lifeboat/evidence"
)

// maxCheckpoint bounds a checkpoint that stands alone, in bytes: others may have signed it, too.
const maxCheckpoint = 64 << 10

// verify verifies the file, whichever of the two it is.
func (o *order) verify() error {
	f, size, isBundle, err := open(o.file)
	if err != nil {
		return err
	}
	defer f.Close()
	if isBundle {
		return o.verifyBundle(f, size)
	}
	if len(o.checkpoints) > 0 {
		return fmt.Errorf("%w: %s is a report, and checkpoints are for bundles", errUsage, o.file)
	}
	return o.verifyReport(f, size)
}

// open opens a regular file, and says whether it is a bundle.
func open(path string) (f *os.File, size int64, isBundle bool, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, 0, false, fmt.Errorf("read: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	var head [4]byte
	n := 0
	if err == nil {
		if n, err = f.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return nil, 0, false, fmt.Errorf("read: %w", errors.Join(err, f.Close()))
	}
	return f, info.Size(), bundle.Is(head[:n]), nil
}

// checkpoint reads one that the auditor kept, alone or in an earlier bundle.
func checkpoint(path string) ([]byte, error) {
	f, size, isBundle, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch {
	case isBundle:
		return bundle.Checkpoint(f, size)
	case size > maxCheckpoint:
		return nil, fmt.Errorf("%w: %s is larger than a checkpoint can be", errUsage, path)
	}
	return io.ReadAll(io.LimitReader(f, maxCheckpoint))
}

func (o *order) verifyBundle(f io.ReaderAt, size int64) error {
	p, err := newPages(o.pages, o.lang)
	if err != nil {
		return err
	}
	options := bundle.Options{Trust: o.trust, Report: p.write}
	for _, path := range o.checkpoints {
		b, err := checkpoint(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		options.Checkpoints = append(options.Checkpoints, b)
	}
	r, err := bundle.Verify(f, size, options)
	if err != nil {
		return fmt.Errorf("%s: %w", o.file, err)
	}
	if o.json {
		err = o.print(r)
	} else if err = r.Write(o.out); err == nil && o.pages != "" {
		_, err = fmt.Fprintf(o.out, "\n%d pages are in %s.\n", p.count, o.pages)
	}
	if err == nil && !r.Good() {
		err = errVerdict
	}
	return err
}

// single is the result for one report.
type single struct {
	Verdict     bundle.Verdict     `json:"verdict"`
	Trusted     bool               `json:"origin_verified"`
	SHA256      string             `json:"report_sha256"`
	Fingerprint string             `json:"fingerprint"`
	ID          string             `json:"id"`
	Source      string             `json:"source"`
	Result      evidence.Verdict   `json:"result"`
	RTO         evidence.Objective `json:"rto"`
	RPO         evidence.Objective `json:"rpo"`
}

func (o *order) verifyReport(f io.Reader, size int64) error {
	if size > evidence.MaxEnvelope {
		return fmt.Errorf("%s: %w: it is larger than a report can be", o.file, evidence.ErrForged)
	}
	b, err := io.ReadAll(io.LimitReader(f, evidence.MaxEnvelope+1))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	opened, err := evidence.Open(b, o.trust)
	if err != nil {
		return fmt.Errorf("%s: %w", o.file, err)
	}
	p, err := newPages(o.pages, o.lang)
	if err == nil {
		err = p.write(opened)
	}
	if err != nil {
		return err
	}
	r := opened.Report
	s := single{bundle.Verified, opened.Trusted, opened.Digest, r.Environment.Fingerprint, r.ID, r.Policy.Source, r.Result, r.RTO, r.RPO}
	if o.json {
		err = o.print(s)
	} else {
		err = s.write(o.out)
	}
	if err == nil && !s.Trusted {
		err = errVerdict
	}
	return err
}

func (s *single) write(w io.Writer) error {
	headline := "ORIGIN UNVERIFIED: the report is as it was signed, and anybody can sign one. Compare the fingerprint with the one that you were given beforehand, or\nrepeat with --trust FINGERPRINT."
	if s.Trusted {
		headline = "VERIFIED: the report is as it was signed, by a key of the repository that you trust."
	}
	_, err := fmt.Fprintf(w, "%s\nThat no other report was left out only a bundle shows.\n\ndrill        %s of %s\nresult       %s\nRTO          %d ms of %d ms: %s\nRPO          %d ms of %d ms: %s\nreport       %s\nfingerprint  %s\n",
		headline, printable(s.ID), printable(s.Source), strings.ToUpper(string(s.Result)), s.RTO.Actual, s.RTO.Target, s.RTO.Verdict, s.RPO.Actual, s.RPO.Target, s.RPO.Verdict, s.SHA256, s.Fingerprint)
	return err
}

// print writes v for programs.
func (o *order) print(v any) error {
	enc := json.NewEncoder(o.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
