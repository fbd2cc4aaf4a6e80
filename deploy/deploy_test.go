// Package deploy_test tries what stands beside it: alert rules by Prometheus' own tool, and that the dashboard is one that Grafana takes. Whether
// the metrics in them exist is tried by the tests of cmd/lifeboat, with a real daemon.
package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"lifeboat/internal/testenv"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRules runs the tests of the alerts, of which each has one.
func TestRules(t *testing.T) {
	testenv.Promtool(t, "check", "config", "prometheus/scrape.yml") // and the rules that it names
	tests, err := filepath.Glob("prometheus/test/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	testenv.Promtool(t, append([]string{"test", "rules"}, tests...)...)

	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(read(t, "prometheus/lifeboat.rules.yml"), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if s := r.Labels["severity"]; s != "warning" && s != "critical" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s lacks a severity, a summary or a description: %+v", r.Alert, r)
			}
			file := filepath.Join("prometheus/test", r.Alert+".yml")
			i := slices.Index(tests, file)
			if i < 0 {
				t.Errorf("%s has no test %s", r.Alert, file)
				continue
			}
			tests = slices.Delete(tests, i, i+1)
			about := strings.Count(string(read(t, file)), "alertname: "+r.Alert+"\n        exp_alerts:\n          - ")
			quiet := strings.Count(string(read(t, file)), "alertname: "+r.Alert+"}")
			if about == 0 || quiet == 0 {
				t.Errorf("%s is not tried both ways: it has to come in %d moments, and not to come in %d", r.Alert, about, quiet)
			}
		}
	}
	if len(tests) > 0 {
		t.Errorf("tests of no alert: %q", tests)
	}
}

// TestDashboard looks for what Grafana would refuse or show wrong: two panels with one number, or in one place, and a data source of somebody else.
func TestDashboard(t *testing.T) {
	type source struct{ Type, UID string }
	var dashboard struct {
		Title  string
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			DataSource  *source
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct {
				RefID, Expr string
				DataSource  source
			}
		}
		Templating struct {
			List []struct{ Name, Type, Query any }
		}
	}
	if err := json.Unmarshal(read(t, "grafana/lifeboat.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	if v := dashboard.Templating.List; dashboard.Title == "" || dashboard.UID == "" || len(v) == 0 || v[0].Name != "datasource" || v[0].Type != "datasource" || v[0].Query != "prometheus" {
		t.Errorf("the dashboard is %q, and its first variable %+v", dashboard.Title, v)
	}
	taken, seen := map[[2]int]string{}, map[int]bool{}
	for _, p := range dashboard.Panels {
		if seen[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: no title, or a number that another has", p.ID, p.Title)
		}
		seen[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Errorf("panel %q is out of the grid at %d, %d, or over %q", p.Title, x, y, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		ours := source{"prometheus", "${datasource}"}
		if p.DataSource == nil || *p.DataSource != ours || len(p.Targets) == 0 {
			t.Errorf("panel %q asks %v for %d things", p.Title, p.DataSource, len(p.Targets))
		}
		for _, q := range p.Targets {
			if q.DataSource != ours || q.Expr == "" || q.RefID == "" {
				t.Errorf("panel %q asks %v for %q", p.Title, q.DataSource, q.Expr)
			}
		}
	}
}
