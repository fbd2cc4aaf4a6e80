package config

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// Parse reads a configuration from text; file is only for messages, lookup is os.LookupEnv or a stand-in. An error is
// always Problems: all of them, up to a hundred.
func Parse(file string, text []byte, lookup func(name string) (string, bool)) (*Config, error) {
	root, problems := parseYAML(file, text)
	if len(problems) > 0 {
		return nil, problems
	}
	d := &decoder{file: file, lookup: lookup, target: map[*ast.AliasNode]ast.Node{}}
	a := aliases{d: d, anchors: map[string]*anchor{}, target: d.target}
	a.walk(root)
	c := &Config{}
	if len(d.problems) == 0 {
		d.config(root, c)
	}
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	d.inlined.sort()
	c.Inline = d.inlined
	return c, nil
}

func (d *decoder) config(n ast.Node, c *Config) {
	var policies ast.Node
	d.section(n, "at the top level",
		field{"repository", true, d.name(&c.Repository)},
		field{"state_dir", true, filled(d, &c.StateDir)},
		field{"keys", true, d.keys(&c.Keys)},
		field{"sources", false, named(d, &c.Sources, d.source)},
		field{"targets", true, named(d, &c.Targets, d.targetSection)},
		field{"policies", false, func(n ast.Node) { policies = n }}, // last: they refer to the others
		field{"notify", false, d.notify(&c.Notify)},
		field{"daemon", false, func(n ast.Node) { d.section(n, "of daemon", field{"listen", true, d.listen(&c.Daemon.Listen)}) }},
	)
	if policies != nil {
		named(d, &c.Policies, d.policy(c))(policies)
	}
}

func (d *decoder) name(dst *string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		filled(d, &s)(n)
		if s == "" {
			return
		}
		if !validName(s) {
			d.problem(n, "name "+d.quote(n), nameHint)
			return
		}
		*dst = s
	}
}

func (d *decoder) keys(dst *Keys) func(ast.Node) {
	return func(n ast.Node) {
		entries, ok := d.entries(n)
		if !ok {
			return
		}
		d.fields(n, "of keys", entries, []field{
			{"recipients", false, texts(d, &dst.Recipients)},
			{"recipients_file", false, filled(d, &dst.RecipientsFile)},
			{"readers", false, texts(d, &dst.Readers)},
		})
		has := func(key string) bool {
			return slices.ContainsFunc(entries, func(e entry) bool { return e.key == key })
		}
		switch list, file := has("recipients"), has("recipients_file"); {
		case list && file:
			d.problem(start(n), "both recipients and recipients_file", "keep one of them")
		case !list && !file:
			d.problem(start(n), "neither recipients nor recipients_file", "name who can restore; lifeboat keygen makes a recipient")
		}
	}
}

// source decodes a source. Its engine is looked at first: it decides which of the other keys are known.
func (d *decoder) source(name string, n ast.Node) Source {
	s := Source{Name: name}
	entries, ok := d.entries(n)
	if !ok {
		return s
	}
	for _, e := range entries {
		if e.key == "engine" {
			oneOf(d, &s.Engine, Postgres, MySQL, SQLite, Files)(e.value)
		}
	}
	own := map[Engine][]field{
		Postgres: {{"dsn", true, d.inline("a password", passwordHint, holdsPassword, filled(d, &s.DSN))}, {"password_file", false, filled(d, &s.PasswordFile)}},
		SQLite:   {{"path", true, filled(d, &s.Path)}},
		Files:    {{"paths", true, texts(d, &s.Paths)}, {"exclude", false, texts(d, &s.Exclude)}, {"fingerprints", false, texts(d, &s.Fingerprints)}},
	}
	own[MySQL] = append(slices.Clone(own[Postgres]), field{"mode", false, oneOf(d, &s.Mode, ModeAuto, ModePhysical, ModeLogical)})
	fields := []field{{"engine", true, nil}, {"owner", false, filled(d, &s.Owner)}}
	what := fmt.Sprintf("of a %s source", s.Engine)
	if s.Engine == "" {
		what = "of a source"
	}
	d.fields(n, what, entries, append(fields, variant(own, s.Engine)...))
	return s
}

func (d *decoder) targetSection(name string, n ast.Node) Target {
	t := Target{Name: name}
	entries, ok := d.entries(n)
	if !ok {
		return t
	}
	for _, e := range entries {
		if e.key == "type" {
			oneOf(d, &t.Type, Local, S3, SFTP)(e.value)
		}
	}
	if t.Type == SFTP {
		t.Port = 22
	}
	limits := []field{{"bandwidth", false, d.bandwidth(&t.Bandwidth)}, {"timezone", false, d.zone(&t.Bandwidth.Zone)}}
	own := map[TargetType][]field{
		Local: {{"path", true, filled(d, &t.Path)}},
		S3: {
			{"endpoint", false, d.endpoint(&t.Endpoint)}, {"region", false, text(d, &t.Region)},
			{"bucket", true, filled(d, &t.Bucket)}, {"prefix", false, text(d, &t.Prefix)},
			{"path_style", false, func(n ast.Node) { t.PathStyle = new(bool); d.flag(t.PathStyle)(n) }},
			{"access_key", false, filled(d, &t.AccessKey)}, {"secret_key", false, d.inline("a secret key", "put it into a file of mode 0600 and write secret_key_file, or write ${NAME}", anything, filled(d, &t.SecretKey))},
			{"secret_key_file", false, filled(d, &t.SecretKeyFile)}, {"profile", false, filled(d, &t.Profile)},
			{"ca_file", false, filled(d, &t.CAFile)}, {"sse", false, oneOf(d, &t.SSE, "AES256", "aws:kms")},
			{"sse_kms_key", false, filled(d, &t.SSEKMSKey)}, {"object_lock", false, d.objectLock(&t.ObjectLock)},
		},
		SFTP: {
			{"host", true, filled(d, &t.Host)}, {"port", false, d.whole(&t.Port, 1, 65535)}, {"user", false, filled(d, &t.User)},
			{"key_file", false, filled(d, &t.KeyFile)}, {"known_hosts", false, filled(d, &t.KnownHosts)},
			{"path", true, filled(d, &t.Path)},
		},
	}
	own[S3], own[SFTP] = append(own[S3], limits...), append(own[SFTP], limits...)
	fields := []field{{"type", true, nil}, {"media", false, filled(d, &t.Media)}, {"offsite", false, d.flag(&t.Offsite)}}
	what := fmt.Sprintf("of %s target", map[TargetType]string{"": "a", Local: "a local", S3: "an s3", SFTP: "an sftp"}[t.Type])
	d.fields(n, what, entries, append(fields, variant(own, t.Type)...))
	if t.Type == S3 {
		d.credentials(n, entries)
	}
	if t.Bandwidth.Zone != nil && !windowed(entries) {
		d.problem(start(n), "timezone without windows of bandwidth", "take it out, or write bandwidth as a list of windows")
	}
	return t
}

// credentials reports what of an s3 target does not go together.
func (d *decoder) credentials(n ast.Node, entries []entry) {
	has := func(key string) bool {
		return slices.ContainsFunc(entries, func(e entry) bool { return e.key == key })
	}
	key, secret, file := has("access_key"), has("secret_key"), has("secret_key_file")
	switch {
	case secret && file:
		d.problem(start(n), "both secret_key and secret_key_file", "keep one of them")
	case key != (secret || file):
		d.problem(start(n), "access_key and its secret go together", "give access_key with secret_key_file, or neither")
	case key && has("profile"):
		d.problem(start(n), "both access_key and profile", "keep one of them")
	}
	if has("sse_kms_key") && !has("sse") {
		d.problem(start(n), "sse_kms_key without sse", "add sse: aws:kms")
	}
}

// variant is the fields that kind adds. Where the kind is missing or wrong, which is a problem already, every kind's
// fields are known and none is required, so that nothing is reported that may be right.
func variant[K ~string](own map[K][]field, kind K) []field {
	if fields, ok := own[kind]; ok {
		return fields
	}
	var all []field
	for _, fields := range own {
		for _, f := range fields {
			f.required = false
			all = append(all, f)
		}
	}
	return all
}

func (d *decoder) objectLock(dst *ObjectLock) func(ast.Node) {
	return func(n ast.Node) {
		d.section(n, "of object_lock",
			field{"mode", true, oneOf(d, &dst.Mode, "governance", "compliance")},
			field{"for", true, d.duration(&dst.For)})
	}
}
