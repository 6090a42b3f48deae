package envscan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/envscan/query"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// comments are those of types ("Disk") and fields ("Disk.Serial"), by package
// path.
type comments map[string]string

// readComments reads them from the source of the packages whose types are in the
// document.
func readComments(t *testing.T) comments {
	t.Helper()
	c := comments{}
	for _, dir := range []string{".", "../disk/layout", "../disk/probe"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if g, ok := n.(*ast.GenDecl); ok && g.Tok == token.TYPE {
					for _, s := range g.Specs {
						c.addType(f.Name.Name, g, s.(*ast.TypeSpec))
					}
				}
				return true
			})
		}
	}
	return c
}

func (c comments) addType(pkg string, g *ast.GenDecl, s *ast.TypeSpec) {
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		return
	}
	name := pkg + "." + s.Name.Name
	c[name] = prose(g.Doc.Text(), s.Doc.Text())
	before := ""
	for _, f := range st.Fields.List {
		for _, id := range f.Names {
			text := prose(f.Doc.Text(), f.Comment.Text())
			// A comment may be that of several fields, which it names.
			if text == "" && regexp.MustCompile(`\b`+id.Name+`\b`).MatchString(before) {
				text = before
			} else {
				before = text
			}
			c[name+"."+id.Name] = text
		}
	}
}

func prose(parts ...string) string {
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}

func goName(t reflect.Type) string { return t.String() }

// schemaWriter makes the schema and the tables of docs/facts.md.
type schemaWriter struct {
	t        *testing.T
	comments comments
	types    []reflect.Type
	paths    map[reflect.Type][]string
}

func newSchemaWriter(t *testing.T) *schemaWriter {
	w := &schemaWriter{t: t, comments: readComments(t), paths: map[reflect.Type][]string{}}
	w.visit(reflect.TypeFor[Facts](), "")
	return w
}

// visit lists the types of objects with the paths where they are.
func (w *schemaWriter) visit(t reflect.Type, at string) {
	k, below := kindOf(t)
	switch k {
	case listKind:
		w.visit(below, at+"[]")
	case mapKind:
		w.visit(below, at+".NAME")
	case objectKind:
		if !slices.Contains(w.types, below) {
			w.types = append(w.types, below)
		}
		w.paths[below] = append(w.paths[below], at)
		for _, f := range fieldsOf(below) {
			w.visit(f.typ, strings.TrimPrefix(at+"."+f.name, "."))
		}
	}
}

// described are fields of other packages whose comments are for those who read
// the source.
var described = map[string]string{
	"layout.Table.Kind":        "gpt, msdos",
	"layout.Table.Disk":        "always empty: its name in a layout",
	"layout.Table.Size":        "of the device that it was made for, bytes",
	"layout.Entry.Name":        "as label",
	"probe.Result.Usage":       "filesystem, raid, crypto, other",
	"probe.Result.SectorSize":  "of the device that it was made for, where it says, bytes",
	"layout.Table.SectorSize":  "that it was made for, bytes",
	"layout.Table.Entries":     "its partitions, by number",
	"layout.Entry.GUID":        "of the partition; of an MBR: zeros",
	"layout.Entry.Attributes":  "bits of a GPT's entry, as one number",
	"layout.MBREntry.Bootable": "its boot flag is set",
	"probe.Result.BlockSize":   "of the file system, bytes",
	"probe.Group.Name":         "of the volume group, array or pool",
}

// text is a field's description; the test fails without.
func (w *schemaWriter) text(f typeField) string {
	name := goName(f.owner) + "." + f.goName
	text := described[name]
	if text == "" {
		text = w.comments[name]
	}
	if text == "" {
		w.t.Errorf("%s.%s has no comment: every fact needs a description", goName(f.owner), f.goName)
	}
	return text
}

func object(pairs ...any) *query.Node {
	n := &query.Node{Kind: query.Object}
	for i := 0; i < len(pairs); i += 2 {
		var v *query.Node
		switch p := pairs[i+1].(type) {
		case string:
			v = &query.Node{Kind: query.String, Text: p}
		case []string:
			v = &query.Node{Kind: query.List}
			for _, s := range p {
				v.List = append(v.List, &query.Node{Kind: query.String, Text: s})
			}
		case *query.Node:
			v = p
		}
		n.Members = append(n.Members, query.Member{Key: pairs[i].(string), Value: v})
	}
	return n
}

func (w *schemaWriter) schema() []byte {
	defs := object()
	for _, t := range w.types[1:] {
		defs.Members = append(defs.Members, query.Member{Key: defName(t), Value: w.object(t)})
	}
	root := w.object(w.types[0])
	root.Members = append(object("$schema", "https://json-schema.org/draft/2020-12/schema", "title", Schema).Members, root.Members...)
	root.Members = append(root.Members, object("required", []string{"schema", "scan"}, "$defs", defs).Members...)
	schema := root.Member("properties").Member("schema")
	schema.Members = append(object("const", Schema).Members, schema.Members[1:]...)
	compact, err := root.MarshalJSON()
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		w.t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

func defName(t reflect.Type) string { return strings.TrimPrefix(goName(t), "envscan.") }

func (w *schemaWriter) object(t reflect.Type) *query.Node {
	properties := object()
	for _, f := range fieldsOf(t) {
		p := w.typed(f.typ)
		p.Members = append(p.Members, object("description", w.text(f)).Members...)
		if f.unit != "" {
			p.Members = append(p.Members, object("unit", f.unit).Members...)
		}
		if f.privacy != "" {
			p.Members = append(p.Members, object("privacy", f.privacy).Members...)
		}
		properties.Members = append(properties.Members, query.Member{Key: f.name, Value: p})
	}
	return object("type", "object", "description", w.comments[goName(t)], "properties", properties)
}

// typed is the schema of a type. What can be null in a document of this package
// is absent in one of another.
func (w *schemaWriter) typed(t reflect.Type) *query.Node {
	nullable := t.Kind() == reflect.Pointer
	k, below := kindOf(t)
	var n *query.Node
	switch {
	case k == objectKind && nullable:
		return object("anyOf", &query.Node{Kind: query.List, List: []*query.Node{object("$ref", "#/$defs/"+defName(below)), object("type", "null")}})
	case k == objectKind:
		return object("$ref", "#/$defs/"+defName(below))
	case k == listKind:
		return object("type", "array", "items", w.typed(below))
	case k == mapKind:
		return object("type", []string{"object", "null"}, "additionalProperties", w.typed(below))
	case integer(below.Kind()):
		// Beyond 2^53 it is a text.
		n = object("type", []string{"integer", "string"}, "pattern", "^-?[0-9]+$")
	case below.Kind() == reflect.Float64:
		n = object("type", []string{"number"})
	case below.Kind() == reflect.Bool:
		n = object("type", []string{"boolean"})
	default:
		n, nullable = object("type", []string{"string"}), nullable || below.Kind() == reflect.String
	}
	if nullable {
		types := n.Member("type")
		types.List = append(types.List, &query.Node{Kind: query.String, Text: "null"})
	}
	return n
}

// tables is the generated part of docs/facts.md.
func (w *schemaWriter) tables() string {
	var b strings.Builder
	for _, t := range w.types {
		title := "The document"
		if at := w.paths[t]; at[0] != "" {
			title = "`" + strings.Join(at, "`, `") + "`"
		}
		fmt.Fprintf(&b, "### %s\n\n%s\n\n| fact | type | unit | privacy | |\n|---|---|---|---|---|\n", title, w.comments[goName(t)])
		for _, f := range fieldsOf(t) {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.name, typeWords(f.typ), f.unit, f.privacy, strings.ReplaceAll(w.text(f), "|", `\|`))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func typeWords(t reflect.Type) string {
	k, below := kindOf(t)
	switch {
	case k == objectKind:
		return "object"
	case k == listKind:
		return "list of " + plural(typeWords(below))
	case k == mapKind:
		return plural(typeWords(below)) + " by name"
	case integer(below.Kind()):
		return "integer"
	case below.Kind() == reflect.Float64:
		return "number"
	case below.Kind() == reflect.Bool:
		return "boolean"
	}
	return "text"
}

func plural(s string) string { return s + "s" }

// TestSchema keeps schema.json and docs/facts.md as the types are.
func TestSchema(t *testing.T) {
	w := newSchemaWriter(t)
	golden(t, "schema.json", string(w.schema()))
	const doc, begin, end = "../docs/facts.md", "<!-- generated: go test ./envscan -run TestSchema -update -->\n", "<!-- end of what is generated -->\n"
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for what is generated", doc)
	}
	golden(t, doc, head+begin+"\n"+w.tables()+end+tail)
}

func golden(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is old: go test ./envscan -run TestSchema -update\n%s", file, diff)
	}
}

// TestSchemaHolds: documents are as the schema says, by another program.
func TestSchemaHolds(t *testing.T) {
	validator := tooltest.Need(t, "jsonschema")
	dir := t.TempDir()
	hashed, err := must(NewRedactor(RedactHash, nil)).Redact(full())
	if err != nil {
		t.Fatal(err)
	}
	args := []string{}
	for i, f := range []Facts{full(), {Schema: Schema}, hashed} {
		doc, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, doc, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-i", file)
	}
	if out, err := validator.Run(t.Context(), tool.Cmd{Name: "jsonschema", Args: append(args, "schema.json")}); err != nil {
		t.Errorf("%v\n%s", err, out.Stdout)
	}
	wrong := filepath.Join(dir, "wrong")
	if err := os.WriteFile(wrong, []byte(`{"schema":"vic.env/1","scan":{},"hw":{"cpu":{"count":true}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := validator.Run(t.Context(), tool.Cmd{Name: "jsonschema", Args: []string{"-i", wrong, "schema.json"}}); err == nil {
		t.Error("the schema allows everything")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
