package envscan

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/victorinix/vic/envscan/query"
)

// ErrSchema: a document is of a schema that this version does not read.
var ErrSchema = errors.New("unknown schema of facts")

// schemaError names the schema of a document.
type schemaError struct{ schema string }

func (e schemaError) Unwrap() error { return ErrSchema }

func (e schemaError) Error() string {
	switch n, ok := strings.CutPrefix(e.schema, "vic.env/"); {
	case e.schema == "":
		return "it has no schema, which would be " + Schema
	case ok && newer(n):
		return fmt.Sprintf("its schema %s is newer than %s: a newer vic reads it", e.schema, Schema)
	}
	return fmt.Sprintf("its schema is %q and not %s", e.schema, Schema)
}

func newer(version string) bool {
	n, err := strconv.Atoi(version)
	mine, _ := strconv.Atoi(strings.TrimPrefix(Schema, "vic.env/"))
	return err == nil && n > mine
}

// UnmarshalJSON reads a document that MarshalJSON wrote, or an earlier version
// of it. Members that this version does not know are left out; what is absent
// or null is the zero value. A document of another schema is ErrSchema.
func (f *Facts) UnmarshalJSON(doc []byte) error {
	n, err := parseDocument(doc)
	if err != nil {
		return err
	}
	unquoteBig(n, reflect.TypeFor[Facts]())
	b, err := n.MarshalJSON()
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	type plain Facts // without this method
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	*f = Facts(p)
	return nil
}

// parseDocument checks the schema.
func parseDocument(doc []byte) (*query.Node, error) {
	n, err := query.Parse(doc)
	if err != nil {
		return nil, fmt.Errorf("read facts: %w", err)
	}
	schema := ""
	if s := n.Member("schema"); s != nil {
		schema = s.Text
	}
	if schema != Schema {
		return nil, fmt.Errorf("read facts: %w", schemaError{schema})
	}
	return n, nil
}

// unquoteBig turns texts back into numbers, where the type is an integer.
func unquoteBig(n *query.Node, t reflect.Type) {
	k, t := kindOf(t)
	switch k {
	case objectKind:
		for _, f := range fieldsOf(t) {
			if c := n.Member(f.name); c != nil {
				unquoteBig(c, f.typ)
			}
		}
	case listKind:
		for _, e := range n.List {
			unquoteBig(e, t)
		}
	case mapKind:
		for _, m := range n.Members {
			unquoteBig(m.Value, t)
		}
	case scalarKind:
		if n.Kind == query.String && integer(t.Kind()) && beyond(n.Text) {
			n.Kind = query.Number
		}
	}
}

func integer(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uint64 }
