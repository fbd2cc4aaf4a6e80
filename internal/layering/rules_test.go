package layering

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

const module = "lifeboat"

// rule says which packages of the module one package may import. Patterns are as in match.
type rule struct {
	pkg   string
	may   []string
	never []string // taken from may
}

// leaves import nothing of the module and anything may import them.
var leaves = []string{"internal/clock", "internal/atomicfile", "internal/bandwidth", "internal/calendar", "internal/cell", "internal/phrase", "internal/redact", "internal/secretfile"}

// testOnly packages serve tests and benchmarks; the demo's CRM is the one exception.
var testOnly = []string{"target/targettest", "target/faulty", "internal/crm", "internal/strike", "internal/testenv"}

// Each line adds to the one below it, as the design's layers do.
var (
	mayJournal    = []string{"crypto", "target"}
	maySnapshot   = append([]string{"chunkstore", "journal"}, mayJournal...)
	mayCapture    = append([]string{"snapshot"}, maySnapshot...)
	mayRestore    = append([]string{"capture"}, mayCapture...)
	mayVerify     = append([]string{"restore"}, mayRestore...)
	mayRepository = append([]string{"verify", "evidence", "catalog", "policies", "config", "target/*"}, mayVerify...)
)

// rules has a line for each package; the first whose pattern fits is the one that counts.
var rules = []rule{
	{pkg: "internal/layering"},
	{pkg: "internal/clock"},
	{pkg: "internal/atomicfile"},
	{pkg: "internal/bandwidth", may: []string{"internal/calendar"}},
	{pkg: "internal/calendar"},
	{pkg: "internal/cell", may: []string{"internal/phrase"}},
	{pkg: "internal/phrase"},
	{pkg: "internal/redact"},
	{pkg: "internal/secretfile"},
	{pkg: "internal/strike"},
	{pkg: "internal/crm"},
	{pkg: "internal/testenv"},
	{pkg: "target"},
	{pkg: "target/*", may: []string{"target"}},
	{pkg: "crypto"},
	{pkg: "policies"},
	{pkg: "config"},
	{pkg: "notify", may: []string{"config"}},
	{pkg: "chunkstore", may: mayJournal},
	{pkg: "journal", may: mayJournal},
	{pkg: "snapshot", may: maySnapshot},
	{pkg: "capture", may: mayCapture},
	{pkg: "restore", may: mayRestore},
	{pkg: "evidence", may: []string{"crypto", "target", "journal"}},
	{pkg: "bundle", may: []string{"crypto", "journal", "evidence"}},
	{pkg: "verify", may: append([]string{"evidence"}, mayVerify...)},
	{pkg: "catalog", may: mayRestore},
	{pkg: "source/*", may: []string{"verify", "evidence", "restore", "capture", "snapshot"}},
	{pkg: "repository", may: mayRepository},
	{pkg: "daemon", may: []string{"**"}, never: []string{"cmd/**"}},
	{pkg: "cmd/**", may: []string{"**"}},
	{pkg: "bench/**", may: []string{"**"}, never: []string{"cmd/**"}},
	{pkg: "bench", may: []string{"**"}, never: []string{"cmd/**"}},
}

// mayUseTestOnly lists who may import what of testOnly, outside tests.
var mayUseTestOnly = []rule{
	{pkg: "bench", may: testOnly},
	{pkg: "bench/**", may: testOnly},
	{pkg: "cmd/lifeboat", may: []string{"internal/crm"}},
	{pkg: "target/targettest", may: []string{"target/faulty"}},
}

// owners are outside dependencies that only one part of the module may know, beside what starts the servers of tests.
var owners = map[string]string{"github.com/aws/": "target/s3", "github.com/pkg/sftp": "target/sftp", "golang.org/x/crypto/ssh": "target/sftp",
	"github.com/wneessen/go-mail": "notify"}

// badNames say nothing about what is inside.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "types", "models", "manager", "misc", "shared"}

// match reports whether pkg fits pattern: equal, or one more element for "/*", or any number for "/**" ("**": all).
func match(pattern, pkg string) bool {
	if pattern == "**" {
		return true
	}
	if dir, ok := strings.CutSuffix(pattern, "/**"); ok {
		return strings.HasPrefix(pkg, dir+"/")
	}
	if dir, ok := strings.CutSuffix(pattern, "/*"); ok {
		return path.Dir(pkg) == dir
	}
	return pattern == pkg
}

func matchAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

// violations are the rules that p breaks, each as a sentence that says where.
func violations(p pkg) []string {
	var out []string
	if slices.Contains(badNames, p.name) || slices.Contains(badNames, path.Base(p.path)) {
		out = append(out, fmt.Sprintf("%s: name the package after what it holds", p.path))
	}
	i := slices.IndexFunc(rules, func(r rule) bool { return match(r.pkg, p.path) })
	if i < 0 {
		return append(out, fmt.Sprintf("%s: not in the map of internal/layering; decide where it belongs", p.path))
	}
	for _, imp := range p.imports {
		if why := refuse(rules[i], p.path, imp.path); why != "" {
			out = append(out, fmt.Sprintf("%s: imports %s: %s", imp.at, imp.path, why))
		}
	}
	if !match("cmd/**", p.path) && p.path != "bench" {
		for _, at := range p.exits {
			out = append(out, fmt.Sprintf("%s: os.Exit outside cmd; return an error", at))
		}
	}
	return out
}

// refuse says why a package under rule r must not import imp, or nothing.
func refuse(r rule, pkg, imp string) string {
	for prefix, owner := range owners {
		if strings.HasPrefix(imp, prefix) && pkg != owner && pkg != "internal/testenv" {
			return "only " + owner + " may"
		}
	}
	local, ok := strings.CutPrefix(imp, module+"/")
	if !ok {
		return ""
	}
	if matchAny(testOnly, local) {
		for _, u := range mayUseTestOnly {
			if match(u.pkg, pkg) && matchAny(u.may, local) {
				return ""
			}
		}
		return "it is for tests only"
	}
	if slices.Contains(leaves, local) && pkg != local && !slices.Contains(leaves, pkg) {
		return ""
	}
	if matchAny(r.never, local) || !matchAny(r.may, local) {
		return "imports point down only; " + r.pkg + " may import " + list(r.may)
	}
	return ""
}

func list(may []string) string {
	if len(may) == 0 {
		return "nothing of the module but " + strings.Join(leaves, " and ")
	}
	return strings.Join(may, ", ")
}
