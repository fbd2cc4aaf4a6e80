package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
)

var (
	metricName  = regexp.MustCompile(`\b(?:lifeboat|process|go)_[a-z_]+\b`)
	labelName   = regexp.MustCompile(`([a-z_]+)="`)
	codeOf      = regexp.MustCompile("`([a-z_]+)`")
	partOfGraph = regexp.MustCompile(`_(?:bucket|sum|count)$`)
)

// documented compares what a daemon exposes with the table of doc/metrics.md, which has to name each metric of ours with its labels, and no other; and
// with what the alert rules ask for.
func documented(t *testing.T, exposed []metric) {
	t.Helper()
	have, all := map[string]string{}, map[string]bool{}
	for _, e := range exposed {
		all[e.name] = true
		if !strings.HasPrefix(e.name, "lifeboat_") {
			continue
		}
		var labels []string
		for _, l := range labelName.FindAllStringSubmatch(e.labels, -1) {
			if l[1] != "le" {
				labels = append(labels, l[1])
			}
		}
		have[partOfGraph.ReplaceAllString(e.name, "")] = strings.Join(labels, " ")
	}
	said := map[string]string{}
	for line := range strings.Lines(string(source(t, "doc/metrics.md"))) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.Contains(cells[1], "`lifeboat_") {
			continue
		}
		var labels []string
		for _, l := range codeOf.FindAllStringSubmatch(cells[2], -1) {
			labels = append(labels, l[1])
		}
		for _, name := range codeOf.FindAllStringSubmatch(cells[1], -1) {
			said[name[1]] = strings.Join(labels, " ")
		}
	}
	for name, labels := range have {
		if got, ok := said[name]; !ok || got != labels {
			t.Errorf("doc/metrics.md says of %s{%s}: %q, %v", name, labels, got, ok)
		}
	}
	for name := range said {
		if _, ok := have[name]; !ok {
			t.Errorf("doc/metrics.md has %s, and the daemon has not: it has %q", name, slices.Sorted(maps.Keys(have)))
		}
	}
	for _, name := range metricName.FindAllString(string(source(t, "deploy/prometheus/lifeboat.rules.yml")), -1) {
		if !all[name] {
			t.Errorf("a rule asks for %s, which the daemon does not have", name)
		}
	}
}

// graphed asks Prometheus' own tool what each panel of the dashboard shows of what a daemon exposes: nothing is a mistake.
func graphed(t *testing.T, exposed []metric) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(source(t, "deploy/grafana/lifeboat.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	var rules, want, series strings.Builder
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			alert := fmt.Sprintf("Panel%d%s", p.ID, q.RefID)
			expr := strings.ReplaceAll(q.Expr, `"$instance"`, `".*"`)
			fmt.Fprintf(&rules, "  - {alert: %s, expr: %q, annotations: {summary: %q}}\n", alert, "absent("+expr+")", p.Title)
			fmt.Fprintf(&want, "  - {eval_time: 10m, alertname: %s}\n", alert)
		}
	}
	for _, e := range exposed {
		labels := strings.TrimPrefix(e.labels+`,instance="host",job="lifeboat"`, ",")
		fmt.Fprintf(&series, "  - {series: %q, values: %q}\n", e.name+"{"+labels+"}", strconv.FormatFloat(e.value, 'f', -1, 64)+"x20")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("panels.yml", "groups:\n- name: panels\n  rules:\n"+rules.String())
	testenv.Promtool(t, "test", "rules", write("test.yml", "rule_files: [panels.yml]\ntests:\n- interval: 1m\n  input_series:\n"+series.String()+"  alert_rule_test:\n"+want.String()))
}

// source reads a file of the project.
func source(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
