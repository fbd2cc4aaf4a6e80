package daemon

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"lifeboat/config"
	"lifeboat/internal/calendar"
)

// TestPolicyTexts writes policies down in the same way each time, with all that they say and nothing that is secret.
func TestPolicyTexts(t *testing.T) {
	cron, err := calendar.ParseCron("0 2 * * 0")
	if err != nil {
		t.Fatal(err)
	}
	bound := 1.5
	cfg := &config.Config{
		Sources: []config.Source{{Name: "crm", Engine: config.Postgres, Owner: "ops@example.com", DSN: "postgres://backup:hunter2@db/crm", PasswordFile: "/etc/pw"}},
		Targets: []config.Target{{Name: "disk", Type: config.Local, Path: "/backup/secret-place"}, {Name: "cloud", Type: config.S3, SecretKey: "hunter3", Media: "object"}},
		Policies: []config.Policy{{Name: "crm", Sources: []string{"crm"}, Heartbeat: "https://example.com/hunter4", Schedule: config.Schedule{Full: cron, Zone: time.UTC, Blackout: []calendar.Window{{From: 60, To: 120}}},
			Retention: config.Retention{PITR: calendar.Duration{N: 30, Unit: "d"}}, Drill: config.Drill{Checks: []config.Check{{Name: "rows", SQL: "select 1", Min: &bound}}}},
			{Name: "other", Sources: []string{"crm"}, Targets: []string{"disk"}}},
	}
	texts := PolicyTexts(cfg)
	text := string(texts["crm"])
	for _, want := range []string{policySchema, `"full":"0 2 * * 0"`, `"zone":"UTC"`, `"pitr":"30d"`, `"allow_below90d":""`, `"heartbeat":true`, `"min":1.5`, `"sql":"select 1"`, `"owner":"ops@example.com"`, `"name":"cloud"`, `"from":60`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	for _, secret := range []string{"hunter", "redacted", "/etc/pw", "secret-place", "example.com/"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	if strings.Contains(string(texts["other"]), "cloud") || !strings.Contains(string(texts["other"]), `"heartbeat":false`) {
		t.Errorf("%s", texts["other"])
	}
	for range 20 {
		if !bytes.Equal(PolicyTexts(cfg)["crm"], texts["crm"]) {
			t.Fatal("it is written in two ways")
		}
	}
}

// TestPolicyTextsComplete changes each field of a policy in turn: each must show, those that are added later too.
func TestPolicyTextsComplete(t *testing.T) {
	text := func(p config.Policy) string {
		p.Name = "p"
		return string(PolicyTexts(&config.Config{Policies: []config.Policy{p}})["p"])
	}
	before := text(config.Policy{})
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Policy]()) {
		var p config.Policy
		v := reflect.ValueOf(&p).Elem().FieldByIndex(f.Index)
		switch {
		case f.Name == "Name":
			continue
		case v.Kind() == reflect.String:
			v.SetString("x")
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		case v.Type() == reflect.TypeFor[calendar.Duration]():
			v.Set(reflect.ValueOf(calendar.Duration{N: 1, Unit: "d"}))
		default:
			continue // a structure, which is written down as this one is
		}
		if text(p) == before {
			t.Errorf("%s does not show", f.Name)
		}
	}
}
