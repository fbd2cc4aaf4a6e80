package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/clock"
	"lifeboat/internal/testenv"
)

// connects writes the configuration anew, for a source with this DSN and further options in YAML.
func (x *fixture) connects(dsn string, options ...string) {
	x.t.Helper()
	options = append([]string{fmt.Sprintf("engine: postgres, dsn: %q", dsn)}, options...)
	x.must(os.WriteFile(x.path("lifeboat.yaml"), fmt.Appendf(nil, "repository: crm\nstate_dir: %s\nkeys: {recipients_file: %s}\nsources:\n  crm: {%s}\ntargets:\n  disk: {type: local, path: %s}\n",
		x.path("state"), x.path("recipients"), strings.Join(options, ", "), x.path("disk")), 0o600))
}

// listener is an output that calls heard when it holds a word.
type listener struct {
	word  string
	heard func()

	mu   sync.Mutex
	text bytes.Buffer
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if strings.Contains(l.text.String(), l.word) {
		l.heard()
	}
	return len(b), nil
}

// streamUntil runs stream in this process until it says a word, which must happen, or ends by itself.
func (x *fixture) streamUntil(word string) said {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.t.Context()), time.Minute)
	defer cancel()
	l := &listener{word: word, heard: cancel}
	var out bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: l, now: clock.System, file: x.path("lifeboat.yaml")}
	code := a.run(ctx, []string{"-c", x.path("lifeboat.yaml"), "stream", "crm"})
	s := said{code, out.String(), l.text.String()}
	if code == 0 && !strings.Contains(s.err, word) {
		x.t.Errorf("stream never said %q: %s", word, s)
	}
	return s
}

// fault is why a source cannot be backed up.
type fault struct {
	name     string
	dsn      string
	password string // in PGPASSWORD
	options  []string
	code     int      // of backup
	says     []string // by backup, stream and doctor: the reason and what to do next
}

// refused wants backup, stream and doctor to say what is wrong, no password, and nothing to be stored.
func (x *fixture) refused(f fault) {
	x.t.Helper()
	before := x.objects("disk")
	x.connects(f.dsn, f.options...)
	all := map[string]said{"backup": x.want(f.code, "backup", "crm"), "stream": x.streamUntil("trying again"), "doctor": x.want(3, "doctor", "crm")}
	if code := all["stream"].code; code != 0 && code != f.code || code == 0 && f.code == 2 {
		x.t.Errorf("stream: %s", all["stream"])
	}
	for command, s := range all {
		text := s.out + s.err
		for _, word := range f.says {
			if !strings.Contains(text, word) {
				x.t.Errorf("%s does not say %q: %s", command, word, s)
			}
		}
		if strings.Contains(text, "secret") {
			x.t.Errorf("%s shows a password: %s", command, s)
		}
		if !strings.Contains(text, "hint: ") && !strings.Contains(text, "fix: ") || strings.Count(s.err, "\n") > 3 {
			x.t.Errorf("%s does not say in two lines what to do next: %s", command, s)
		}
	}
	if after := x.objects("disk"); len(after) != len(before) {
		x.t.Errorf("it left %d objects where there were %d", len(after), len(before))
	}
}

// certificate makes a self-signed certificate for a name, and its key, in PEM.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestPostgresConnection names a server wrongly in every way. Afterwards the right name works.
func TestPostgresConnection(t *testing.T) {
	x, pg := newCluster(t, testenv.PostgresBin)
	pg.Query("postgres", "CREATE ROLE locked REPLICATION LOGIN PASSWORD 'the secret'; CREATE ROLE weak LOGIN; CREATE ROLE stranger REPLICATION LOGIN")
	cert, key := certificate(t, "db.example.com")
	pg.Put("server.crt", cert)
	pg.Put("server.key", key)
	x.put([]byte(cert), "authority.pem")
	x.put([]byte("wrong secret\n"), "password")
	pg.Put("pg_hba.conf", `local all all trust
host all postgres 127.0.0.1/32 trust
host replication locked,missing 127.0.0.1/32 scram-sha-256
host replication backup,weak 127.0.0.1/32 trust
`)
	pg.Restart("fast")
	at := fmt.Sprintf("127.0.0.1:%d", pg.Port)
	nobody := testenv.FreePort(t)
	trust := func(s string) string { return fmt.Sprintf("postgres://backup@%s/postgres?sslmode=%s", at, s) }
	rootcert := "&sslrootcert=" + x.path("authority.pem")
	group := func(faults []fault) {
		for _, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				x.t = t
				t.Setenv("PGPASSWORD", f.password)
				x.refused(f)
			})
		}
		x.t = t
	}
	group([]fault{
		{name: "port", dsn: fmt.Sprintf("postgres://backup:secret@127.0.0.1:%d/postgres", nobody), code: 1, says: []string{"connection refused", "host, port and network"}},
		{name: "host", dsn: "postgres://backup:secret@nowhere.invalid/postgres", code: 1, says: []string{"nowhere.invalid", "host, port and network"}},
		{name: "socket", dsn: "host=/nowhere user=backup password=secret", code: 1, says: []string{"/nowhere/.s.PGSQL.5432", "no such file", "host, port and network"}},
		{name: "password in the dsn", dsn: "postgres://locked:wrong%20secret@" + at + "/postgres", code: 1, says: []string{`password authentication failed for user "locked"`, "password_file"}},
		{name: "password in the environment", dsn: "postgres://locked@" + at + "/postgres", password: "wrong secret", code: 1, says: []string{"password authentication failed", "password_file"}},
		{name: "password in a file", dsn: "postgres://locked@" + at + "/postgres", options: []string{"password_file: " + x.path("password")}, code: 1, says: []string{"password authentication failed", "password_file"}},
		{name: "no password", dsn: "postgres://locked@" + at + "/postgres", code: 1, says: []string{"password authentication failed", "password_file"}},
		{name: "a line in pg_hba.conf and no role", dsn: "postgres://missing@" + at + "/postgres", password: "secret", code: 1, says: []string{"password authentication failed", `is there a role "missing"`}},
		{name: "no TLS", dsn: trust("require"), code: 1, says: []string{"server refused TLS", "ssl = on"}},
		{name: "no line in pg_hba.conf", dsn: "postgres://stranger:secret@" + at + "/postgres", code: 1, says: []string{"no pg_hba.conf entry", `host replication "stranger"`}},
		{name: "no such role", dsn: "postgres://nobody:secret@" + at + "/postgres", code: 1, says: []string{"no pg_hba.conf entry", `CREATE ROLE "nobody" REPLICATION LOGIN`}},
		{name: "no right to replicate", dsn: "postgres://weak:secret@" + at + "/postgres", code: 1, says: []string{`ALTER ROLE "weak" REPLICATION;`}},
		{name: "port without a number", dsn: "postgres://backup:secret@127.0.0.1:many/postgres", code: 2, says: []string{"dsn", "postgres://user@host"}},
		{name: "spaces in a URL", dsn: "postgres://backup:my secret@" + at + "/postgres", code: 2, says: []string{"percent-encoded", "postgres://user@host"}},
		{name: "spaces in a list", dsn: "host=127.0.0.1 password=my secret user=backup", code: 2, says: []string{"key=value"}},
		{name: "no end of a password", dsn: "host=127.0.0.1 password='my secret user=backup", code: 2, says: []string{"unterminated quoted string"}},
		{name: "ports that do not fit the hosts", dsn: "host=a,b,c port=1,2 password=secret", code: 2, says: []string{"2 port numbers to 3 hosts"}},
		{name: "mode of TLS", dsn: trust("perhaps") + "&password=secret", code: 2, says: []string{"sslmode is invalid"}},
		{name: "no file of the authority", dsn: trust("verify-full") + "&sslrootcert=" + x.path("nothing"), code: 2, says: []string{x.path("nothing")}},
		{name: "no words", dsn: "secret", code: 2, says: []string{"postgres://user@host"}},
	})
	pg.Query("postgres", "ALTER SYSTEM SET ssl = on")
	pg.Restart("fast")
	group([]fault{
		{name: "unknown authority", dsn: trust("verify-full"), code: 1, says: []string{"x509: ", "sslrootcert"}},
		{name: "certificate of another name", dsn: trust("verify-full") + rootcert, code: 1, says: []string{"x509: ", "127.0.0.1", "as its certificate does"}},
	})
	t.Setenv("PGPASSWORD", "the secret")
	for _, dsn := range []string{trust("verify-ca") + rootcert, trust("require"), "host=127.0.0.1 port=" + fmt.Sprint(pg.Port) + " user=locked dbname=nowhere"} {
		x.connects(dsn)
		if s := x.want(0, "doctor", "crm"); !strings.Contains(s.out, "fix: write logs: continuous into its policy and run the daemon; by hand: lifeboat stream crm") {
			t.Errorf("doctor does not say how the log is captured: %s", s)
		}
	}
	x.real = true
	x.want(0, "backup", "crm")
}

// TestPostgresSettings takes from a server what backups need; what doctor tells to do then mends it. Like the other tests of
// faults it runs beside them: they wait more than they work.
func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	dsn := pg.DSN("backup", "postgres")
	for _, f := range []struct {
		name, spoil string
		fault
	}{
		{"minimal log", "ALTER SYSTEM SET wal_level = minimal; ALTER SYSTEM SET max_wal_senders = 0", fault{says: []string{"max_wal_senders", "wal_level = replica"}}},
		{"no senders", "ALTER SYSTEM SET max_wal_senders = 0", fault{says: []string{"max_wal_senders = 10"}}},
		{"no slots", "ALTER SYSTEM SET max_replication_slots = 0", fault{says: []string{"max_replication_slots = 10"}}},
	} {
		t.Run(f.name, func(t *testing.T) {
			x.t = t
			x.spoilt(pg, f.spoil)
			f.dsn, f.code = dsn, 1
			x.refused(f.fault)
			x.cured(pg)
		})
	}
	x.t = t
	x.spoilt(pg, "ALTER SYSTEM SET max_wal_senders = 1")
	if s := x.want(1, "backup", "crm"); !strings.Contains(s.err, "max_wal_senders = 10") {
		t.Errorf("a backup with one sender: %s", s)
	}
	x.want(3, "doctor", "crm")
	end := x.stream() // one is enough for it
	x.streaming(pg)
	end(syscall.SIGKILL)
	x.cured(pg)
}

// streaming waits until a stream reads the log.
func (x *fixture) streaming(pg *testenv.Postgres) {
	x.t.Helper()
	for range 600 {
		if pg.Query("postgres", "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'lifeboat' AND state = 'streaming'")[0][0] == "1" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.t.Fatalf("nothing streams: %s", x.read("stream.log"))
}

// spoilt changes settings and restarts the server.
func (x *fixture) spoilt(pg *testenv.Postgres, statements string) {
	x.t.Helper()
	for s := range strings.SplitSeq(statements, ";") {
		pg.Query("postgres", s)
	}
	pg.Restart("fast")
}

// cured does what doctor tells to do; then a backup works.
func (x *fixture) cured(pg *testenv.Postgres) {
	x.t.Helper()
	s := x.want(3, "doctor", "crm")
	fixes := regexp.MustCompile(`ALTER SYSTEM [^;]*`).FindAllString(s.out, -1)
	x.spoilt(pg, strings.Join(fixes, ";"))
	x.want(0, "doctor", "crm")
	x.want(0, "backup", "crm")
}
