package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/envscan/query"
)

var formats = []string{"json", "yaml", "flat"}

// render prints a scalar bare, for shells, and everything else as a document.
func render(n *query.Node, format string) ([]byte, error) {
	if n.Scalar() && n.Kind != query.Null {
		return []byte(n.Text + "\n"), nil
	}
	return document(n, "", format)
}

// document prints facts at a path.
func document(n *query.Node, at, format string) ([]byte, error) {
	if format == "flat" {
		var b bytes.Buffer
		err := flat(&b, at, n)
		return b.Bytes(), err
	}
	compact, err := n.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("print facts: %w", err)
	}
	if format == "yaml" {
		text, err := yaml.JSONToYAML(compact)
		if err != nil {
			return nil, fmt.Errorf("print facts as YAML: %w", err)
		}
		return append([]byte(strings.TrimRight(string(text), "\n")), '\n'), nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		return nil, fmt.Errorf("print facts: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// flat prints a line for each scalar and for what is empty: PATH=JSON.
func flat(b *bytes.Buffer, at string, n *query.Node) error {
	if len(n.List) == 0 && len(n.Members) == 0 {
		text, err := n.MarshalJSON()
		if err != nil {
			return fmt.Errorf("print %s: %w", at, err)
		}
		fmt.Fprintf(b, "%s=%s\n", at, text)
		return nil
	}
	for i, e := range n.List {
		if err := flat(b, query.Join(at, fmt.Sprint(i)), e); err != nil {
			return err
		}
	}
	for _, m := range n.Members {
		if err := flat(b, query.Join(at, m.Key), m.Value); err != nil {
			return err
		}
	}
	return nil
}
