package evidence

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"lifeboat/crypto"
)

var update = flag.Bool("update", false, "write doc/drill-report.schema.json anew")

const schemaFile = "../doc/drill-report.schema.json"

// TestSchema keeps the published schema equal to the types: go test ./evidence -run Schema -update.
func TestSchema(t *testing.T) {
	made := schema(t)
	b, err := json.MarshalIndent(made, "", "  ")
	must(t, err)
	b = append(b, '\n')
	if *update {
		must(t, os.WriteFile(schemaFile, b, 0o644))
	}
	stands, err := os.ReadFile(schemaFile)
	must(t, err)
	if !bytes.Equal(b, stands) {
		t.Fatalf("%s is not what the types say: go test ./evidence -run Schema -update", schemaFile)
	}
	var read jsonschema.Schema
	must(t, json.Unmarshal(stands, &read))
	resolved, err := read.Resolve(nil)
	must(t, err)
	k := newKeys(t, 1, crypto.Writer)
	for name, r := range map[string]*Report{"full": k.full(t), "failed": k.failed(t), "small": k.small(t)} {
		var v map[string]any
		must(t, json.Unmarshal(opened(t, k, r).Payload, &v))
		if err := resolved.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name != "full" {
			continue
		}
		for field, wrong := range map[string]any{"schema": "lifeboat/drill-report/9", "result": "perfect", "issued": "2026-11-30T02:30:00+01:00", "checks": "none", "rto": nil} {
			right := v[field]
			v[field] = wrong
			if resolved.Validate(v) == nil {
				t.Errorf("%s may be %v", field, wrong)
			}
			v[field] = right
		}
		delete(v, "not_tested")
		if resolved.Validate(v) == nil {
			t.Error("not_tested may be missing")
		}
	}
}

// schema is made of the types and of their comments.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	words := func(values ...any) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Enum: values} }
	s, err := jsonschema.For[Report](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Verdict]():   words(Pass, Fail, Inconclusive, ""),
		reflect.TypeFor[Severity]():  words(Critical, Warning, ""),
		reflect.TypeFor[time.Time](): {Type: "string", Format: "date-time", Pattern: "Z$"},
	}})
	must(t, err)
	describe(s, reflect.TypeFor[Report](), comments(t))
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", "Lifeboat drill report 1"
	s.Properties["schema"].Const = ptr[any](Schema)
	s.Properties["result"].Enum = []any{Pass, Fail, Inconclusive}
	return s
}

// describe puts comments where they belong. Later versions may have more fields, so none is forbidden.
func describe(s *jsonschema.Schema, of reflect.Type, said map[string]string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		if of.Kind() == reflect.Slice {
			s = s.Items
		}
		of = of.Elem()
	}
	if s.AdditionalProperties == nil { // no struct of ours
		return
	}
	s.AdditionalProperties = nil
	s.Description = said[of.Name()]
	for i := range of.NumField() {
		f := of.Field(i)
		p := s.Properties[f.Tag.Get("json")]
		describe(p, f.Type, said)
		if text := said[of.Name()+"."+f.Name]; text != "" {
			p.Description = text
		}
	}
}

// comments are those of the types and the fields of report.go, by "Type" and "Type.Field".
func comments(t *testing.T) map[string]string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), "report.go", nil, parser.ParseComments)
	must(t, err)
	said := map[string]string{}
	text := func(groups ...*ast.CommentGroup) string {
		var all []string
		for _, g := range groups {
			all = append(all, strings.Fields(g.Text())...)
		}
		return strings.Join(all, " ")
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		d, ok := n.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE {
			return true
		}
		spec := d.Specs[0].(*ast.TypeSpec)
		said[spec.Name.Name] = text(d.Doc)
		if st, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				said[spec.Name.Name+"."+f.Names[0].Name] = text(f.Doc, f.Comment)
			}
		}
		return false
	})
	return said
}
