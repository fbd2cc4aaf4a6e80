package config_test

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
	texts, err := config.PolicyTexts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	text := string(texts["crm"])
	for _, want := range []string{`"format":1`, `"full":"0 2 * * 0"`, `"timezone":"UTC"`, `"pitr":"30d"`, `"allow_below_90d":""`, `"heartbeat":true`, `"min":1.5`, `"sql":"select 1"`, `"owner":"ops@example.com"`, `"name":"cloud"`, `"from":60`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if strings.Contains(text, "canary") { // as before there were any
		t.Errorf("a policy without a canary speaks of one: %s", text)
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
		if again, err := config.PolicyTexts(cfg); err != nil || !bytes.Equal(again["crm"], texts["crm"]) {
			t.Fatal("it is written in two ways")
		}
	}
}

// TestPolicyTextComplete changes each field of a policy in turn: each must show, those that are added later too.
func TestPolicyTextComplete(t *testing.T) {
	text := func(p config.Policy) string {
		b, err := config.PolicyText(&config.Config{}, p)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var p config.Policy
	before := text(p)
	var change func(name string, v reflect.Value)
	change = func(name string, v reflect.Value) {
		old := reflect.ValueOf(v.Interface())
		switch {
		case v.Type() == reflect.TypeFor[calendar.Duration]():
			v.Set(reflect.ValueOf(calendar.Duration{N: 1, Unit: "d"}))
		case v.Type() == reflect.TypeFor[*calendar.Cron]():
			c, err := calendar.ParseCron("@daily")
			if err != nil {
				t.Fatal(err)
			}
			v.Set(reflect.ValueOf(c))
		case v.Type() == reflect.TypeFor[*time.Location]():
			v.Set(reflect.ValueOf(time.FixedZone("there", 3600)))
		case v.Kind() == reflect.String:
			v.SetString("x")
		case v.Kind() == reflect.Int:
			v.SetInt(1)
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				change(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		default:
			t.Fatalf("%s is a %s, which this test does not know", name, v.Type())
		}
		hidden := name == ".Targets" || name == ".Drill.Scratch" // of targets those show that there are; where something is never does
		if !hidden && text(p) == before {
			t.Errorf("%s does not show", name)
		}
		v.Set(old)
	}
	change("", reflect.ValueOf(&p).Elem())
}
