package daemon

import (
	"fmt"
	"reflect"

	"lifeboat/config"
)

// differences says in words what is not the same in two configurations. Values do not show: they can be secrets.
func differences(old, now *config.Config) (out []string) {
	out = append(out, named("source", old.Sources, now.Sources, func(s config.Source) string { return s.Name })...)
	out = append(out, named("target", old.Targets, now.Targets, func(t config.Target) string { return t.Name })...)
	out = append(out, named("policy", old.Policies, now.Policies, func(p config.Policy) string { return p.Name })...)
	for _, part := range []struct {
		name     string
		old, now any
	}{{"keys", old.Keys, now.Keys}, {"notify", old.Notify, now.Notify}} {
		if !reflect.DeepEqual(part.old, part.now) {
			out = append(out, part.name+" changed")
		}
	}
	return out
}

func named[T any](kind string, old, now []T, name func(T) string) (out []string) {
	before := map[string]T{}
	for _, v := range old {
		before[name(v)] = v
	}
	for _, v := range now {
		other, ok := before[name(v)]
		delete(before, name(v))
		if !ok {
			out = append(out, fmt.Sprintf("%s %s is new", kind, name(v)))
			continue
		}
		if fields := changed(other, v); len(fields) > 0 {
			out = append(out, fmt.Sprintf("%s %s changed: %v", kind, name(v), fields))
		}
	}
	for _, v := range old {
		if _, gone := before[name(v)]; gone {
			out = append(out, fmt.Sprintf("%s %s is gone", kind, name(v)))
		}
	}
	return out
}

// changed names the fields that differ.
func changed(a, b any) (out []string) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			out = append(out, x.Type().Field(i).Name)
		}
	}
	return out
}
