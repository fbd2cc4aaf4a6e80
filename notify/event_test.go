package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	want := `Lifeboat crm-prod: critical: the backup of crm failed
write to vault: no space left on device: make room there
host: db1
policy: crm
source: crm
target: vault
time: 2026-11-20T03:00:00Z`
	if got := trouble.text(1000); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	over := trouble
	over.Recovered = true
	still := trouble
	still.Reminder = true
	d := digest([]Event{over, still, trouble})
	want = `Lifeboat crm-prod: critical: recovered: the backup of crm failed, and 2 more
write to vault: no space left on device: make room there
host: db1
policy: crm
source: crm
target: vault
time: 2026-11-20T03:00:00Z
and 2 more:
- still critical: the backup of crm failed (2026-11-20T03:00:00Z)
- critical: the backup of crm failed (2026-11-20T03:00:00Z)`
	if got := d.text(1000); got != want || d.Kind != Digest || d.Key != "" || d.Recovered || len(d.Gathered) != 3 {
		t.Errorf("got %+v\n%s\nwant\n%s", d, got, want)
	}
	if over.Severity = Warning; digest([]Event{over, over}).Severity != Info {
		t.Error("what is over is urgent")
	}
}

func TestTextIsCutBetweenCharacters(t *testing.T) {
	e := Event{Title: strings.Repeat("备", 1000), Detail: strings.Repeat("份", 10_000)}.tidy(time.Now())
	for limit := 100; limit < 110; limit++ {
		if s := e.text(limit); len(s) > limit || len(s) < limit-5 || !utf8.ValidString(s) || !strings.HasSuffix(s, "…") {
			t.Errorf("%d bytes of %d: %q", len(s), limit, s)
		}
	}
	if len(e.Title) > maxTitle || len(e.Detail) > maxDetail {
		t.Errorf("%d and %d bytes", len(e.Title), len(e.Detail))
	}
}

// TestTidy holds what a caller should not have put into an event.
func TestTidy(t *testing.T) {
	now := time.Date(2026, 11, 20, 11, 0, 0, 1234567, time.FixedZone("", 8*3600))
	e := Event{
		Title:  "connect to postgres://backup:hunter2@db/crm\nfailed \x1b[31m\u202e",
		Detail: "line one\r\nhost=db password=hunter2 user=x\ntoken: 'hunter2 too', sign=\"hunter2\" https://h/?access_token=hunter2&x=1\x00\xff",
		Source: "crm\n", Reminder: true, Gathered: []Event{{}},
	}.tidy(now)
	if all := fmt.Sprint(e); strings.Contains(all, "hunter2") || strings.ContainsAny(all, "\x1b\x00\u202e\r") || !utf8.ValidString(all) {
		t.Errorf("left: %q", all)
	}
	if e.Title != "connect to postgres://backup:[redacted]@db/crm failed [31m" || !strings.HasPrefix(e.Detail, "line one\nhost=db password=[redacted] user=x\n") {
		t.Errorf("%q, %q", e.Title, e.Detail)
	}
	if e.Source != "crm" || e.Reminder || e.Gathered != nil || e.At.Format(time.RFC3339Nano) != "2026-11-20T03:00:00.001Z" {
		t.Errorf("%+v", e)
	}
}
