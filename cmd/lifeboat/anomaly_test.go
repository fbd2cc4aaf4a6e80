package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lifeboat/policies"
)

// samples are the snapshots as policies knows them.
func (x *fixture) samples() (all []policies.Sample) {
	x.t.Helper()
	var rows []snapshotRow
	x.must(json.Unmarshal([]byte(x.want(0, "snapshots", "crm", "--json", "--identity", x.path("key")).out), &rows))
	for i, r := range rows {
		s := policies.Sample{At: r.Taken, Full: r.Kind == "full", Size: r.Size, Changed: r.Changed, New: r.New, Stored: r.Content, Log: -1}
		if i > 0 {
			s.Since = r.Taken.Sub(rows[i-1].Taken)
		}
		all = append(all, s)
	}
	return all
}

// TestAnomalies backs a database up daily while a few of its rows change, and then ruins it in several ways: what the records say tells each from a
// usual day.
func TestAnomalies(t *testing.T) {
	x := newFixture(t, "disk")
	day := func(does string) {
		x.shift += 24 * time.Hour
		x.sqlite(does)
		x.want(0, "backup", "crm")
	}
	x.sqlite(`CREATE TABLE note (id INTEGER PRIMARY KEY, t TEXT);
		WITH n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 90000) INSERT INTO note SELECT i, replace(hex(zeroblob(20)), '00', (i % 7919) || ' called, ') FROM n`)
	for i := range 30 {
		day(fmt.Sprintf("UPDATE note SET t = upper(t) WHERE id / 75 %% 97 = %d", i))
	}
	usual, whole := x.samples(), x.database()
	for i, s := range usual {
		if found := policies.Unusual(usual[:i], s); len(found) != 0 {
			t.Errorf("day %d: %+v: %+v", i, found, s)
		}
	}
	for _, tt := range []struct{ does, measures string }{
		{"UPDATE note SET t = upper(t) WHERE id / 75 % 97 = 50", ""},
		{"DELETE FROM note WHERE id % 4 = 1", "changed"},
		{"DELETE FROM note WHERE id < 45000", "changed"},
		{"UPDATE note SET t = randomblob(length(t)) WHERE id < 15000", "changed incompressible"},
		{"DELETE FROM note WHERE id > 7500; VACUUM", "shrunk"},
		{"UPDATE note SET t = randomblob(length(t)) WHERE id BETWEEN 12000 AND 17400", "incompressible"},
	} {
		x.must(os.WriteFile(x.path("crm.db"), whole, 0o600))
		day("SELECT 1")
		day(tt.does)
		all := x.samples()
		newest := all[len(all)-1]
		var measures []string
		for _, a := range policies.Unusual(usual, newest) { // the day before was as the last of the usual ones
			measures = append(measures, a.Measure)
		}
		if got := strings.Join(measures, " "); got != tt.measures {
			t.Errorf("%s: %q: %+v", tt.does, got, newest)
		}
	}
}
