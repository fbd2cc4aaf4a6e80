package main

import (
	"fmt"
	"strings"
	"testing"

	"lifeboat/evidence"
	"lifeboat/internal/phrase"
)

// speaks fails for each text of a real report that the page in Chinese would leave in English from its beginning on, although this program wrote it.
func speaks(t *testing.T, r evidence.Report) {
	t.Helper()
	ours := func(where string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			for line := range strings.Lines(text) {
				if p := phrase.Chinese(strings.TrimSuffix(line, "\n")); len(p) > 0 && p[0].English {
					t.Errorf("%s is said in no phrase: %q", where, line)
				}
			}
		}
	}
	i := r.Isolation
	ours("isolation", append([]string{i.Network, i.Listening, i.Archiving, i.Limitation}, i.TornDown...)...)
	ours("objectives", r.RTO.How, r.RPO.How)
	if r.Projection != nil {
		ours("projection", r.Projection.Model, r.Projection.Assumption)
	}
	ours("facts", r.Backup.Cipher, r.Host.Clock, r.Selection.Population)
	ours("gaps", r.Point.Gaps...)
	ours("errors", r.Errors...)
	for _, e := range r.Selection.Excluded {
		ours("what was left out", e.What)
	}
	for _, c := range r.Checks {
		ours(c.ID, c.What, c.Expected)
		if c.Kind != "assertion" { // which observes content
			ours(c.ID, c.Observed)
		}
		if strings.Contains("inventory counts drift digests freshness", c.Kind) { // the others are judged by the engine
			ours(c.ID, c.Why)
		}
	}
	for _, f := range r.Findings {
		ours(fmt.Sprintf("finding %s", f.ID), f.Text, f.Retest)
	}
}
