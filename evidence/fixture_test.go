package evidence

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/internal/phrase"
)

// keys are those of a repository: its root, and one that the root certified.
type keys struct {
	repository  crypto.ID
	role        crypto.Role
	seed        []byte
	root, key   string
	certificate string
	signer      note.Signer
}

func newKeys(t testing.TB, number byte, role crypto.Role) keys {
	t.Helper()
	k := keys{repository: crypto.ID(bytes.Repeat([]byte{number}, crypto.IDSize)), role: role, seed: bytes.Repeat([]byte{number + 100}, 32)}
	rootSeed := bytes.Repeat([]byte{number + 50}, 32)
	root, err := crypto.NewSigner(k.repository, crypto.Root, rootSeed)
	must(t, err)
	k.root, err = crypto.VerifierKey(k.repository, crypto.Root, rootSeed)
	must(t, err)
	k.key, err = crypto.VerifierKey(k.repository, role, k.seed)
	must(t, err)
	k.signer, err = crypto.NewSigner(k.repository, role, k.seed)
	must(t, err)
	k.certificate, err = crypto.SignCertificate(root, crypto.Certificate{Repository: k.repository, Role: role, Key: k.key, From: 7, Epoch: "age1pq1example"})
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (k keys) fingerprint(t testing.TB) string {
	t.Helper()
	f, err := crypto.Fingerprint(k.root)
	must(t, err)
	return f
}

// put makes a report one of the repository.
func (k keys) put(t testing.TB, r *Report) *Report {
	t.Helper()
	r.Environment.Repository, r.Environment.Fingerprint = k.repository.String(), k.fingerprint(t)
	r.Signer = Signer{Key: k.key, Root: k.root, Certificate: k.certificate}
	r.Log = Log{Journal: crypto.KeyName(k.repository, crypto.Writer), Records: 1284, Root: "c2l4dGVlbiBieXRlcyBvZiB0aGUgdHJlZSBvZiBoYXM=", Previous: hash("previous")}
	if k.role == crypto.Writer {
		b, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", r.Log.Journal, r.Log.Records, r.Log.Root)}, k.signer)
		must(t, err)
		r.Log.Checkpoint = string(b)
	}
	return r
}

// small is a report that says little.
func (k keys) small(t testing.TB) *Report {
	return k.put(t, &Report{Schema: Schema, ID: "d-1", Issued: start, Result: Inconclusive})
}

func hash(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

var start = time.Date(2026, 11, 30, 2, 30, 0, 0, time.UTC)

func after(ms int64) time.Time     { return start.Add(time.Duration(ms) * time.Millisecond) }
func ptr[T any](v T) *T            { return &v }
func days(n int) *time.Time        { return ptr(start.AddDate(0, 0, n)) }
func minutes(n float64) (ms int64) { return int64(n * 60_000) }

// full is a report in which every field says something.
func (k keys) full(t testing.TB) *Report {
	disk := Copy{Target: "disk", Place: "Frankfurt, rack 12", Media: "disk", Records: 1284, LastDrill: days(-14)}
	vault := Copy{Target: "vault", Place: "Zürich", Media: "object store", Offsite: true, ImmutableUntil: days(90), Records: 1284, LastDrill: days(-7)}
	r := &Report{
		Schema: Schema, ID: "2026-11-30T02-30-00Z-crm", Issued: after(262_000), Environment: Environment{Name: "production"},
		Tool:    Tool{"lifeboat", "v0.5.0", hash("binary")},
		Host:    Host{Name: "drill-1.example.org", System: "Debian GNU/Linux 12, Linux 6.1 amd64", CPUs: 8, Memory: 32 << 30, Clock: phrase.ClockSynced.Say("1.5ms"), IdentityAccepted: true},
		Policy:  Policy{Name: "crm-gold", Source: "crm", Owner: "Database team", Digest: hash("policy"), Text: "drill:\n  schedule: 30 2 * * 1\n  point: random within 30d\n  rto: 10m\n  rpo: 1m\n", Schedule: "30 2 * * 1", Previous: days(-7), Due: &start, Next: days(7), Missed: []time.Time{*days(-21)}},
		Trigger: Trigger{Kind: "scheduled", By: "lifeboat@drill-1", From: "daemon", Reason: "weekly drill of the policy crm-gold"},
		Selection: Selection{Mode: "full", Algorithm: "random", From: "rotate", Window: 30 * 86400, Seed: "9f86d081884c7d659a2feaa0c55ad015", Population: phrase.DrawnMoment.Say(2592000001, 720*time.Hour, phrase.Interval.Count(1), phrase.FromTo.Say("2026-10-31T02:30:00.000Z", "2026-11-30T02:30:00.000Z"), 1712345),
			Excluded: []Excluded{{phrase.TheTarget.Say("tape"), "not reachable since 2026-11-28T09:12:44Z"}, {phrase.FromTo.Say("2026-11-02T00:00:00.000Z", "2026-11-03T00:00:00.000Z"), phrase.GapDropped.Say()}}},
		Backup: Backup{Engine: "PostgreSQL", Version: "17.6", System: "7412345678901234567", Snapshot: "1207", Kind: "incremental", Taken: *days(-3), Record: hash("record"), From: "1/2B4C5D60", To: "1/4F00A1B8", LogSize: 612 << 20,
			Size: 41 << 30, Fetched: 17 << 30, Frames: 17612, Copy: vault, Copies: []Copy{disk, vault, {Target: "tape", Place: "Basel", Media: "tape", Offsite: true, Records: 1190}},
			Cipher: phrase.Cipher.Say(), Epochs: []string{"age1pq1example"}, Companions: []Companion{{"attachments", "1209", 42_000, 18231, 9 << 30, Pass}, {"config", "1208", 61_000, 57, 3 << 20, Pass}}},
		Point: Point{Requested: "2026-11-27T14:03:21Z", Reached: "1/4F00A1B8", Through: ptr(start.Add(-60 * time.Hour)), Last: ptr(start.Add(-60*time.Hour - 2*time.Second)), Gaps: nil, Verdict: Pass},
		Isolation: Isolation{Directory: "/var/lib/lifeboat/drills/2026-11-30", Separate: true, Network: phrase.OwnNetwork.Say(), Listening: phrase.PostgresListening.Say(), Archiving: phrase.PostgresArchiving.Say(), User: "lifeboat-drill", Teardown: Pass,
			TornDown: []string{phrase.NobodyWorks.Say("/var/lib/lifeboat/drills/2026-11-30"), phrase.DirectoryGone.Say("/var/lib/lifeboat/drills/2026-11-30")}, Limitation: phrase.PostgresLimitation.Say()},
		Timeline: []Phase{{PhaseQueue, start, after(900), 0, ""}, {PhasePlan, after(900), after(5200), 0, ""}, {PhaseRestore, after(5200), after(131_000), 41 << 30, ""}, {PhaseRestore, after(131_000), after(158_000), 9 << 30, "attachments"},
			{PhaseReplay, after(158_000), after(193_100), 612 << 20, ""}, {PhaseChecks, after(193_100), after(248_000), 0, ""}, {PhaseTeardown, after(248_000), after(261_000), 0, ""}},
		RTO: Objective{minutes(10), 192_200, Pass, phrase.RTOHow.Say()},
		RPO: Objective{minutes(1), 2_400, Pass, phrase.RPOHow.Say()},
		Projection: &Projection{Size: 410 << 30, LogSize: 6 << 30, Copy: "tape", Duration: minutes(31), Low: minutes(24), High: minutes(44),
			Model: phrase.Model.Say("tape", phrase.Drill.Count(12), phrase.FixedAndContent.Say("4s", "230 MiB"), phrase.Drill.Count(12), phrase.RateLog.Say("11 MiB"), "5.2s") + ".", Samples: 12, Error: 0.083, Verdict: Fail, Assumption: phrase.Assumption.Say()},
		Checks: checks(), NotTested: Limits("application", "users", "other-copies", "other-points", "production-hardware", "sampling"),
		Errors: []string{phrase.SomebodyEnded.Say(), "WARNING:  could not open statistics file: <no such file> & so on"}, Result: Pass,
		Findings: []Finding{{ID: "F-1", Severity: Warning, Text: phrase.FoundProjection.Say("tape"), Owner: "Database team", Due: days(30), Retest: phrase.Retest.Say("crm-gold", "tape")}},
		Controls: Controls(),
	}
	for i := range 9 {
		p := Past{At: *days(-7 * (9 - i)), Report: hash(fmt.Sprint(i)), Copy: []string{"disk", "vault"}[i%2], RTO: 170_000 + int64(i*i%7)*21_000, RPO: 1_000 + int64(i%4)*700, Size: 40 << 30, Result: Pass}
		if i == 3 {
			p.Result, p.RTO = Fail, 960_000
		}
		if i == 5 {
			p.Result = Inconclusive
		}
		r.Trend = append(r.Trend, p)
	}
	return k.put(t, r)
}

func checks() []Check {
	tables := []Table{{"public.accounts", 120_443, ptr[int64](120_443), true, hash("a"), false}, {"public.activities", 9_184_220, ptr[int64](9_100_000), false, hash("b"), true}, {"public.contacts", 402_118, ptr[int64](402_120), true, "", false}, {"public.imports", 12, nil, false, hash("c"), false}}
	since := phrase.SinceCounted.Say(3, 0)
	return []Check{
		{"integrity", "integrity", Critical, phrase.Amcheck.Say("1.4", 3, 412, 377) + "; " + phrase.IndexesNot.Say(2, "gin"), "", phrase.NoFaults.Say(), phrase.NoFaults.Say(), Pass, "", after(193_100), after(215_000), nil},
		{"references", "references", Warning, phrase.AntiJoins.Say(31, 1), "", phrase.NoFaults.Say(), phrase.Faults.Say(1), Fail, phrase.Orphans.Say("crm.public.notes", "(0,7)", "notes_account_fkey", "crm.public.accounts"), after(231_000), after(240_000), nil},
		{"counts", "counts", Warning, phrase.CountEach.Say(), "", phrase.CountExpected.Say(), phrase.Counted.Say(4, 4, 1), Fail, since + "\n" + phrase.RowsProven.Say("public.contacts", 402_118, 402_120), after(215_800), after(231_000), tables},
		{"inventory", "inventory", Critical, phrase.AllObjects.Say(), "", phrase.TablesOf.Say(4, phrase.ProductionAt.Say("2026-11-27T14:00:00Z")), phrase.OfKind("index", 7) + ", " + phrase.OfKind("table", 4), Pass, "", after(215_000), after(215_800), nil},
		{"freshness", "freshness", Critical, phrase.NewestTime.Say(), hash("sql"), "2026-11-27T14:03:21.117Z", "2026-11-27T14:03:21.117Z", Pass, "", after(240_000), after(240_400), nil},
		{"digests", "digests", Warning, phrase.HashRows.Say(), "", phrase.NoneAtPosition.Say(), phrase.Hashed.Say(3, 4, 1, 0), Inconclusive, phrase.NotHashedInTime.Say(1, phrase.TimeLimit.Say(time.Minute)), after(240_400), after(240_500), nil},
		{"assertion:open-deals", "assertion", Critical, phrase.PolicyStatement.Say(), hash("deals"), phrase.EqualTo.Say("0") + ", " + phrase.AtMost.Say("5"), "no faults", Pass, "", after(240_500), after(240_900), nil},
	}
}

// failed is a drill that did not get far.
func (k keys) failed(t testing.TB) *Report {
	r := k.full(t)
	r.Result, r.Checks, r.Projection, r.Trend, r.Timeline = Fail, nil, nil, nil, r.Timeline[:3]
	r.Errors = []string{strings.Repeat("read vault: object packs/7f: the content is not what its name says; ", 3)}
	r.RTO.Actual, r.RTO.Verdict, r.RPO.Actual, r.RPO.Verdict = 0, Fail, 0, Inconclusive
	r.Point = Point{Requested: "latest", Gaps: []string{"1/2C000000 to 1/2D000000"}, Verdict: Fail}
	return k.put(t, r)
}

func sign(t testing.TB, k keys, r *Report) []byte {
	t.Helper()
	b, err := Sign(r, k.seed)
	must(t, err)
	return b
}

func opened(t testing.TB, k keys, r *Report) *Opened {
	t.Helper()
	o, err := Open(sign(t, k, r), k.fingerprint(t))
	must(t, err)
	return o
}
