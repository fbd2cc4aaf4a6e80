package config_test

import (
	"fmt"
	"strings"
	"testing"

	"lifeboat/config"
)

// TestInline names secrets that stand in the file itself, and nothing else.
func TestInline(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"sources:\n  crm: {engine: postgres, dsn: \"postgres://u:hush@db/crm\"}\n", "7:32: a password"},
		{"sources:\n  crm: {engine: postgres, dsn: \"postgres://u:hush${PGPASS}@db/crm\"}\n", "7:32: a password"},
		{"sources:\n  crm: {engine: postgres, dsn: \"postgres://u:${PGPASS}@db/crm\"}\n", ""},
		{"sources:\n  crm: {engine: postgres, dsn: \"postgres://u@db:5432/crm?sslmode=require\"}\n", ""},
		{"sources:\n  crm: {engine: postgres, dsn: \"postgres://u@db/crm?sslmode=require&password=hush\"}\n", "7:32: a password"},
		{"sources:\n  crm: {engine: postgres, dsn: \"postgres://u@db/crm?password=${PGPASS}\"}\n", ""},
		{"sources:\n  crm: {engine: postgres, dsn: \"host=db user=u password = hush\"}\n", "7:32: a password"},
		{"sources:\n  crm: {engine: postgres, dsn: \"host=db user=u password=${PGPASS}\"}\n", ""},
		{"sources:\n  crm:\n    engine: postgres\n    dsn: |\n      postgres://u:hush@db/crm\n", "9:10: a password"},
		{"sources:\n  crm: {engine: postgres, dsn: &x \"postgres://u:hush@db/crm\"}\n  shop: {engine: mysql, dsn: *x}\n", "7:32: a password 8:30: a password"},
		{"  c: {type: s3, bucket: b, access_key: a, secret_key: hush}\n", "6:55: a secret key"},
		{"  c: {type: s3, bucket: b, access_key: a, secret_key: \"${TOKEN}\"}\n", ""},
		{"notify: [{webhook: \"https://hook.example.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX\"}]\n", "6:20: a URL with its token"},
		{"notify: [{webhook: \"https://hook.example.com/services/${TOKEN}\"}]\n", ""},
		{"notify: [{webhook: \"https://hook.example.com/lifeboat/incoming-webhooks\"}]\n", ""},
		{"notify: [{webhook: \"https://u:hush@hook.example.com/\"}]\n", "6:20: a URL with its token"},
		{"notify: [{webhook: \"https://u:${TOKEN}@hook.example.com/\"}]\n", ""},
		{"notify: [{dingtalk: \"https://oapi.dingtalk.com/robot/send?access_token=hush\"}]\n", "6:21: a URL with its token"},
		{"notify: [{wecom: \"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=${TOKEN}\"}]\n", ""},
		{"notify: [{smtp: \"smtp://u:hush@mail.example.com:587?tls=starttls\", to: [o@example.com]}]\n", "6:17: a password"},
		{"notify: [{smtp: \"smtp://u@mail.example.com:587?tls=starttls\", to: [o@example.com]}]\n", ""},
		{"sources:\n  a: {engine: sqlite, path: a}\npolicies:\n  p: {sources: [a], heartbeat: \"https://hc.example.com/0fb5a6d4-1111-2222-3333-444455556666\"}\n", "9:32: a URL with its token"},
	} {
		c, err := config.Parse("f.yaml", []byte(minimal+tt.text), lookup)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		var got []string
		for _, p := range c.Inline {
			if p.Hint == "" || p.File != "f.yaml" {
				t.Errorf("%s: %+v", tt.text, p)
			}
			got = append(got, fmt.Sprintf("%d:%d: %s", p.Line, p.Col, strings.TrimSuffix(p.What, " in the file itself")))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
}
