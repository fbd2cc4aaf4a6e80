package s3_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/target/s3"
)

// TestSharedFiles takes credentials from the files of the AWS tools: by profile, by default, and from a program that a profile names. What is
// wrong with them is said, and no secret.
func TestSharedFiles(t *testing.T) {
	store := start(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := file("good", fmt.Sprintf("#!/bin/sh\necho '{\"Version\": 1, \"AccessKeyId\": %q, \"SecretAccessKey\": %q, \"Expiration\": %q}'\n",
		store.AccessKey, store.SecretKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	const wrong = "wrong-s3cret"
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file("credentials", fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n\n[backup]\naws_access_key_id = %[1]s\naws_secret_access_key = %[2]s\n\n"+
		"[wrong]\naws_access_key_id = %[1]s\naws_secret_access_key = %[3]s\n\n[half]\naws_access_key_id = %[1]s\n\n[token]\naws_access_key_id = %[1]s\naws_secret_access_key = %[2]s\naws_session_token = wrong\n",
		store.AccessKey, store.SecretKey, wrong)))
	t.Setenv("AWS_CONFIG_FILE", file("config", "[profile program]\ncredential_process = "+program+
		"\n[profile broken]\ncredential_process = "+file("broken", "#!/bin/sh\nexit 1\n")+"\n"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	with := func(profile string) s3.Config {
		c := settings(store, "plain")
		c.AccessKey, c.SecretKey, c.Profile = "", "", profile
		return c
	}
	for i, profile := range []string{"", "backup", "program"} {
		tg, name := open(t, with(profile)), fmt.Sprint("packs/", i)
		if err := tg.Put(t.Context(), name, text(profile)); err != nil {
			t.Fatalf("profile %q: %v", profile, err)
		}
		wantObject(t, tg, name, []byte(profile))
	}
	for profile, says := range map[string]string{
		"wrong":  "the secret key does not belong to the access key: check profile wrong",
		"half":   "partial credentials found for profile half: correct AWS_CONFIG_FILE",
		"token":  "the session token is not one of these credentials: renew them",
		"broken": "there are no usable credentials: give access_key with secret_key_file, a profile",
		"absent": "open s3://plain: there is no profile absent in AWS_CONFIG_FILE (~/.aws/config)",
	} {
		tg, err := s3.Open(t.Context(), with(profile))
		if err == nil {
			err = tg.Put(t.Context(), "packs/new", text("new"))
		}
		wantError(t, err, nil, "s3://plain", says)
		if strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), store.SecretKey) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", profile, err)
		}
	}
}
