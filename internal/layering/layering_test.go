package layering

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pkg is what the rules look at in one package: its files but the tests, whatever system they are built for.
type pkg struct {
	path    string // from the module's root
	name    string
	imports []reference
	exits   []string // where os.Exit is called
}

type reference struct{ path, at string }

// load parses every package of the module at root.
func load(root string) ([]pkg, error) {
	found := map[string]*pkg{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(root, file, d.Name())
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(rel))
		if found[dir] == nil {
			found[dir] = &pkg{path: dir}
		}
		return found[dir].add(file, rel)
	})
	var out []pkg
	for _, p := range found {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	return out, err
}

// skipDir leaves out what the go command leaves out, and what `make clean` removes.
func skipDir(root, dir, name string) error {
	if dir == root {
		return nil
	}
	out := filepath.Dir(dir) == root && (name == "bin" || name == "dist" || name == "tmp")
	_, nested := os.Stat(filepath.Join(dir, "go.mod"))
	if out || nested == nil || name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	return nil
}

func (p *pkg) add(file, rel string) error {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p.name = tree.Name.Name
	at := func(n ast.Node) string { return fmt.Sprintf("%s:%d", rel, fset.Position(n.Pos()).Line) }
	osName := ""
	for _, imp := range tree.Imports {
		name, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", at(imp), err)
		}
		p.imports = append(p.imports, reference{name, at(imp)})
		if name == "os" {
			osName = "os"
			if imp.Name != nil {
				osName = imp.Name.Name
			}
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Exit" {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && osName != "" && x.Name == osName {
			p.exits = append(p.exits, at(sel))
		}
		return true
	})
	return nil
}

func TestImportsPointDown(t *testing.T) {
	pkgs, err := load(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.path == "internal/layering" }) {
		t.Fatal("this package was not found among the module's: the walk is broken")
	}
	for _, p := range pkgs {
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
}

// TestRulesBite gives each rule something to refuse, and its nearest neighbour that it must allow.
func TestRulesBite(t *testing.T) {
	tests := []struct {
		from, imp string
		want      string // "" when allowed
	}{
		{"chunkstore", "lifeboat/crypto", ""},
		{"crypto", "lifeboat/chunkstore", "imports point down"},
		{"crypto", "lifeboat/internal/clock", ""},
		{"internal/clock", "lifeboat/internal/atomicfile", "imports point down"},
		{"policies", "lifeboat/target", "imports point down"},
		{"target/local", "lifeboat/target", ""},
		{"target/local", "lifeboat/target/s3", "imports point down"},
		{"target", "lifeboat/target/local", "imports point down"},
		{"target/s3", "github.com/aws/aws-sdk-go-v2/service/s3", ""},
		{"internal/testenv", "github.com/aws/aws-sdk-go-v2/service/s3", ""},
		{"target/local", "github.com/aws/aws-sdk-go-v2/aws", "only target/s3 may"},
		{"cmd/lifeboat", "github.com/aws/aws-sdk-go-v2/aws", "only target/s3 may"},
		{"journal", "lifeboat/chunkstore", "imports point down"},
		{"snapshot", "lifeboat/journal", ""},
		{"snapshot", "lifeboat/restore", "imports point down"},
		{"restore", "lifeboat/chunkstore", ""},
		{"verify", "lifeboat/source/sqlite", "imports point down"},
		{"source/sqlite", "lifeboat/restore", ""},
		{"source/sqlite", "lifeboat/journal", "imports point down"},
		{"source/sqlite", "lifeboat/source/files", "imports point down"},
		{"catalog", "lifeboat/snapshot", ""},
		{"catalog", "lifeboat/verify", "imports point down"},
		{"repository", "lifeboat/verify", ""},
		{"repository", "lifeboat/source/sqlite", "imports point down"},
		{"repository", "lifeboat/daemon", "imports point down"},
		{"daemon", "lifeboat/source/sqlite", ""},
		{"daemon", "lifeboat/cmd/lifeboat", "imports point down"},
		{"cmd/lifeboat", "lifeboat/daemon", ""},
		{"cmd/lifeboat", "lifeboat/internal/crm", ""},
		{"cmd/lifeboat", "lifeboat/internal/strike", "tests only"},
		{"daemon", "lifeboat/internal/crm", "tests only"},
		{"bench", "lifeboat/target/faulty", ""},
		{"somewhere/new", "fmt", "decide where it belongs"},
		{"internal/util", "fmt", "name the package after what it holds"},
	}
	for _, tt := range tests {
		p := pkg{path: tt.from, name: path.Base(tt.from), imports: []reference{{tt.imp, "x.go:1"}}}
		got := strings.Join(violations(p), "\n")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s importing %s: %q, want %q", tt.from, tt.imp, got, tt.want)
		}
	}
	for from, refused := range map[string]bool{"cmd/lifeboat": false, "daemon": true} {
		if got := violations(pkg{path: from, exits: []string{"x.go:1"}}); refused != (len(got) == 1) {
			t.Errorf("os.Exit in %s: %q, refused should be %t", from, got, refused)
		}
	}
}

func TestLoadSeesWhatItMust(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":            "module lifeboat\n",
		"daemon/a.go":       "package daemon\nimport sys \"os\"\nfunc f() { sys.Exit(1) }\n",
		"daemon/b_plan9.go": "//go:build plan9\npackage daemon\nimport \"lifeboat/cmd/lifeboat\"\n",
		"daemon/a_test.go":  "package daemon\nimport \"lifeboat/internal/strike\"\n",
		"other/go.mod":      "module other\n",
		"other/x.go":        "package util\n",
		"d/testdata/x.go":   "package util\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pkgs, err := load(root)
	if err != nil || len(pkgs) != 1 {
		t.Fatalf("load found %v (%v), want only daemon", pkgs, err)
	}
	got := violations(pkgs[0])
	if len(got) != 2 || !strings.HasPrefix(got[0], "daemon/b_plan9.go:3: ") || !strings.HasPrefix(got[1], "daemon/a.go:3: os.Exit") {
		t.Errorf("violations are %q", got)
	}
}
