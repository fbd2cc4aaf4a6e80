package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"lifeboat/evidence"
)

// TestMariaDBDrill drills snapshots of both kinds: what is whole passes, a table that production lost in between fails, and nothing runs on.
func TestMariaDBDrill(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"physical", "logical"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			x, m := newMariaDB(t, mode)
			scratch := x.path("scratch")
			x.must(os.Mkdir(scratch, 0o755))
			x.policy(fmt.Sprintf("policies:\n  crm:\n    sources: [crm]\n    drill:\n      scratch: %s\n      checks:\n        - {name: customers, sql: \"select count(*) from customer\", equals: 50000}\n        - {name: no-files, sql: \"select load_file('/etc/hostname') is null\", equals: 1}\n"+
				"        - {name: ledger, sql: \"select count(*) from ledger\", min: 1}\n", scratch))
			for i := range 20 {
				mariaLedger(m.Query, i)
			}
			m.Query("crm", "CREATE TABLE orders (id INT PRIMARY KEY, customer BIGINT UNSIGNED NOT NULL, CONSTRAINT fk FOREIGN KEY (customer) REFERENCES customer (id)) ENGINE=InnoDB")
			m.Query("crm", "INSERT INTO orders VALUES (1, 7), (2, 9)")
			x.want(0, "backup", "crm")
			r := x.drilledAs(0)
			for id, want := range map[string]string{"integrity": "no faults", "references": "no faults", "inventory": "", "counts": ""} {
				if c := checkOf(t, r, id); c.Verdict != evidence.Pass || !strings.Contains(c.Observed, want) {
					t.Errorf("%s: %+v", id, c)
				}
			}
			if r.Isolation.Listening == "" || r.Isolation.Network == "" {
				t.Errorf("%+v", r.Isolation)
			}
			again := x.drilledAs(0)
			if c := checkOf(t, again, "digests"); c.Verdict != evidence.Pass {
				t.Errorf("%+v", c)
			}
			end := x.stream()
			for i := range 5 {
				mariaLedger(m.Query, i)
			}
			x.caughtMaria(m)
			end(syscall.SIGTERM)
			if c := checkOf(t, x.drilledAs(0), "assertion:ledger"); !strings.Contains(c.Observed, "25") {
				t.Errorf("with the log behind the snapshot: %+v", c)
			}
			m.Query("crm", "SET STATEMENT foreign_key_checks = 0 FOR DELETE FROM customer WHERE id = 9")
			m.Query("crm", "TRUNCATE TABLE ledger")
			x.want(0, "backup", "crm")
			r = x.drilledAs(3)
			for _, id := range []string{"references", "counts", "assertion:customers", "assertion:ledger"} {
				if c := checkOf(t, r, id); c.Verdict != evidence.Fail {
					t.Errorf("%s: %+v", id, c)
				}
			}
			if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}
