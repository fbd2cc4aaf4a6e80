package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxFile   = 1 << 20 // bytes
	maxTokens = 40_000  // the parser's time grows with the square of a mapping's length
	maxNest   = 32      // the parser recurses; a real configuration nests 5 deep
)

// parseYAML reads text as one YAML document. What the parser would not survive, or would forgive, is refused before it
// runs. nil with a nil error cannot be: an empty document is a problem.
func parseYAML(file string, text []byte) (ast.Node, Problems) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // editors put it there; YAML allows it
	whole := func(what, hint string) Problems { return Problems{{File: file, What: what, Hint: hint}} }
	switch {
	case len(text) > maxFile:
		return nil, whole(fmt.Sprintf("more than %d bytes", maxFile), "a configuration is a page or two; is this the right file?")
	case !utf8.Valid(text):
		return nil, whole("not UTF-8 text", "is this the right file, and saved as UTF-8?")
	case bytes.IndexByte(text, 0) >= 0:
		return nil, whole("not a text: it has zero bytes", "is this the right file?")
	}
	if problems := tabs(file, text); len(problems) > 0 {
		return nil, problems
	}
	tokens := lexer.Tokenize(string(text))
	if len(tokens) > maxTokens {
		return nil, whole(fmt.Sprintf("more than %d words and signs", maxTokens), "a configuration is a page or two; is this the right file?")
	}
	if tk := tooDeep(tokens); tk != nil {
		return nil, Problems{problemAt(file, tk, fmt.Sprintf("nested more than %d deep", maxNest), "")}
	}
	doc, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are reported with the rest
	if err != nil {
		return nil, Problems{syntaxProblem(file, err, text)}
	}
	var bodies []ast.Node
	for _, d := range doc.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil, whole("nothing in it", "see the example in the documentation")
	case 1:
		return bodies[0], nil
	default:
		return nil, Problems{problemAt(file, bodies[1].GetToken(), "a second document", "a configuration is one document; remove the ---")}
	}
}

// tabs finds indentation with tabs, which YAML forbids and editors hide.
func tabs(file string, text []byte) Problems {
	var problems Problems
	line := 0
	for s := range bytes.Lines(text) {
		line++
		indent := s[:len(s)-len(bytes.TrimLeft(s, " \t"))]
		if i := bytes.IndexByte(indent, '\t'); i >= 0 && len(problems) < maxProblems {
			problems = append(problems, Problem{file, line, i + 1, "a tab in the indentation", "indent with spaces"})
		}
	}
	return problems
}

// tooDeep is the token where nesting, by brackets or by signs that open something within one line, passes maxNest.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, run, indents := 0, 0, []int{}
	for _, tk := range tokens {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0) // an unmatched one is the parser's to refuse
		}
		switch tk.Type {
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.TagType, token.AnchorType:
			run++
		case token.CollectEntryType:
			run = 0
		}
		if tk.Position == nil {
			continue
		}
		if prev := tk.Prev; prev == nil || prev.Position.Line != tk.Position.Line {
			run = 0
			for len(indents) > 0 && indents[len(indents)-1] >= tk.Position.Column {
				indents = indents[:len(indents)-1]
			}
			indents = append(indents, tk.Position.Column)
		}
		if flow > maxNest || run > 2*maxNest || len(indents) > maxNest {
			return tk
		}
	}
	return nil
}

// syntaxProblem keeps the parser's own words and place, not its excerpt of the file, which can hold a password.
func syntaxProblem(file string, err error, text []byte) Problem {
	syntax, ok := errors.AsType[yaml.Error](err)
	if !ok || syntax.GetToken() == nil {
		return Problem{File: file, What: "not YAML"}
	}
	p := problemAt(file, syntax.GetToken(), "not YAML: "+syntax.GetMessage(), "")
	lines := strings.Split(string(text), "\n")
	if p.Line >= 1 && p.Line <= len(lines) && strings.Contains(lines[p.Line-1], "${") {
		p.Hint = `inside { } and [ ], a value with a variable needs quotes: "${NAME}"`
	}
	return p
}

func problemAt(file string, tk *token.Token, what, hint string) Problem {
	p := Problem{File: file, What: what, Hint: hint}
	if tk != nil && tk.Position != nil {
		p.Line, p.Col = tk.Position.Line, tk.Position.Column
	}
	return p
}
