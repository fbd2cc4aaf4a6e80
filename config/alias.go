package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// maxAliases is how deep an alias may lead to another.
const maxAliases = 8

// aliases follows anchors and aliases before anything is decoded, so that decoding cannot run in circles.
type aliases struct {
	d       *decoder
	anchors map[string]*anchor
	target  map[*ast.AliasNode]ast.Node
}

type anchor struct {
	value ast.Node
	depth int // of the aliases in the value
	open  bool
}

// walk visits n in the order of the file and returns how deep the aliases below it lead. Names mean what they last
// meant, as YAML has it.
func (a *aliases) walk(n ast.Node) int {
	depth := 0
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			depth = max(depth, a.walk(v))
		}
	case *ast.MappingValueNode:
		depth = max(a.walk(n.Key), a.walk(n.Value))
	case *ast.MappingKeyNode:
		depth = a.walk(n.Value)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			depth = max(depth, a.walk(v))
		}
	case *ast.TagNode:
		depth = a.walk(n.Value)
	case *ast.AnchorNode:
		it := &anchor{value: n.Value, open: true}
		a.anchors[nodeText(n.Name)] = it
		it.depth = a.walk(n.Value)
		it.open = false
		depth = it.depth
	case *ast.AliasNode:
		depth = a.follow(n)
	}
	return depth
}

func (a *aliases) follow(n *ast.AliasNode) int {
	name := nodeText(n.Value)
	it := a.anchors[name]
	switch {
	case it == nil:
		a.d.problem(n, fmt.Sprintf("alias *%s of an anchor that is not there", name), fmt.Sprintf("put &%s before what it stands for, above", name))
	case it.open:
		a.d.problem(n, fmt.Sprintf("alias *%s inside what it stands for", name), "a value cannot contain itself")
	case it.depth >= maxAliases:
		a.d.problem(n, fmt.Sprintf("alias *%s leads through more than %d others", name, maxAliases), "write the value out")
	default:
		a.target[n] = it.value
		return it.depth + 1
	}
	return 0
}

// nodeText is the text of a scalar as the file has it.
func nodeText(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}
