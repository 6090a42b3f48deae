package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/victorinix/vic/internal/template"
)

// maxYAML is the largest document that is read, in bytes. Settings are
// written by people, so anything larger is a mistaken path; and the YAML
// library takes time that grows with the square of the nesting.
const maxYAML = 64 << 10

// entry is one key of a mapping, in the order of the text.
type entry struct {
	key   string
	node  ast.Node // of the key
	value ast.Node
}

// parse returns the body of a document, or nil for an empty one. It holds only
// mappings, lists and scalars: anchors, aliases, merge keys and tags are
// refused, because settings do not need them and the YAML library trips over
// some of them.
func parse(source string, text []byte) (ast.Node, error) {
	if len(text) > maxYAML {
		return nil, &Error{Source: source, Msg: fmt.Sprintf("is %d bytes long, at most %d are read", len(text), maxYAML)}
	}
	if json.Valid(text) {
		// YAML forbids tabs in indentation. Outside of strings, where JSON
		// allows none, one is as good as a space and keeps the columns.
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		e := fromYAML(source, err, nil)
		if lines := strings.Split(string(text), "\n"); e.Line > 0 && e.Line <= len(lines) && template.Is(lines[e.Line-1]) {
			e.Msg += "; a value that begins with a template stands in quotes: '{{ ... }}'"
		}
		return nil, e
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if body != nil {
			return nil, at(source, doc.Body, "holds a second document, expected one")
		}
		body = doc.Body
	}
	if body == nil || body.Type() == ast.NullType {
		return nil, nil
	}
	return body, plain(source, body)
}

// plain refuses what parse does not let through, all of it at once.
func plain(source string, n ast.Node) error {
	var errs []error
	switch m := n.(type) {
	case *ast.StringNode, *ast.LiteralNode, *ast.BoolNode, *ast.NullNode,
		*ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return nil
	case *ast.SequenceNode:
		for _, el := range m.Values {
			errs = append(errs, plain(source, el))
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		list, err := entries(source, n)
		errs = append(errs, err)
		for _, e := range list {
			errs = append(errs, plain(source, e.value))
		}
	default:
		return at(source, n, "unexpected %s", describe(n))
	}
	return errors.Join(errs...)
}

// parseMapping parses a document that has to be one mapping. An empty document
// is an empty mapping.
func parseMapping(source string, text []byte) ([]entry, error) {
	body, err := parse(source, text)
	if err != nil || body == nil {
		return nil, err
	}
	return entries(source, body)
}

// entries lists the keys of a mapping node.
func entries(source string, n ast.Node) ([]entry, error) {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil, at(source, n, "expected a mapping (key: value), got %s", describe(n))
	}
	var list []entry
	for it := m.MapRange(); it.Next(); {
		k := it.Key()
		switch k.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.BoolNode, *ast.NullNode, *ast.FloatNode:
			list = append(list, entry{k.GetToken().Value, k, it.Value()})
		default:
			return nil, at(source, k, "expected a plain key, got %s", describe(k))
		}
	}
	return list, nil
}

// decode fills v, a pointer to a struct, from a document, strictly. names are
// the keys that the document may have.
func decode(source string, text []byte, v any, names []string) error {
	body, err := parse(source, text)
	if err != nil || body == nil {
		return err
	}
	if err := yaml.NodeToValue(body, v, yaml.Strict()); err != nil {
		return fromYAML(source, err, names)
	}
	return nil
}

// describe says what a node is, for people.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case nil:
		return "nothing"
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode:
		return fmt.Sprintf("the string %.40q", n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return fmt.Sprintf("the number %.40s", n.GetToken().Value)
	case *ast.BoolNode:
		return "the boolean " + n.GetToken().Value
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode:
		return "anchor (not supported here)"
	case *ast.AliasNode:
		return "alias (not supported here)"
	case *ast.TagNode:
		return "tag (not supported here)"
	}
	return "a " + n.Type().YAMLName()
}
