package daemon

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"lifeboat/config"
)

// policySchema names how the text of a policy is written.
const policySchema = "lifeboat/policy/1"

// PolicyTexts writes down each policy of a configuration, by its name, in the same way each time: all that it says, and what it says it of. Where a source
// or a target is, and secrets, are not in it.
func PolicyTexts(cfg *config.Config) map[string][]byte {
	out := map[string][]byte{}
	for _, p := range cfg.Policies {
		sources, targets := []any{}, []any{}
		for _, name := range p.Sources {
			s, _ := cfg.Source(name)
			sources = append(sources, map[string]any{"name": name, "engine": s.Engine, "owner": s.Owner})
		}
		for _, t := range cfg.Targets {
			if len(p.Targets) == 0 || slices.Contains(p.Targets, t.Name) {
				targets = append(targets, map[string]any{"name": t.Name, "type": t.Type, "media": t.Media, "offsite": t.Offsite, "object_lock": said(reflect.ValueOf(t.ObjectLock))})
			}
		}
		b, err := json.Marshal(map[string]any{"schema": policySchema, "policy": said(reflect.ValueOf(p)), "sources": sources, "targets": targets}) // keys are sorted
		if err != nil {
			b = fmt.Appendf(nil, "{%q:%q}", "error", err) // it cannot be: there are strings, numbers, lists and maps only
		}
		out[p.Name] = append(b, '\n')
	}
	return out
}

// said is a value of the configuration as JSON has it: what prints itself as its text, a secret as whether there is one, and of a structure all fields, so
// that none that is added later is forgotten.
func said(v reflect.Value) any {
	if s, ok := v.Interface().(config.Secret); ok {
		return s != ""
	}
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		return said(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for _, f := range reflect.VisibleFields(v.Type()) {
			if f.IsExported() && len(f.Index) == 1 {
				out[snake(f.Name)] = said(v.Field(f.Index[0]))
			}
		}
		return out
	case reflect.Slice, reflect.Array:
		out := []any{}
		for i := range v.Len() {
			out = append(out, said(v.Index(i)))
		}
		return out
	}
	return v.Interface()
}

// snake is a name of Go as the configuration writes names.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if before := i > 0 && !unicode.IsUpper(rune(name[i-1])); unicode.IsUpper(r) && before {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
