package envscan

import (
	"reflect"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan/query"
)

// What Report.Redacted says.
const (
	RedactHash = "hash"
	RedactDrop = "drop"
)

const identifying = "identifying"

// privacyOf is a field's privacy. Types of other packages have no such tag:
// what tells one of their values from another is here.
func privacyOf(t reflect.Type, f reflect.StructField) string {
	if p := f.Tag.Get("privacy"); p != "" {
		return p
	}
	switch t {
	case reflect.TypeFor[probe.Result]():
		switch f.Name {
		case "UUID", "SubUUID", "Label":
			return identifying
		}
	case reflect.TypeFor[probe.Group]():
		if f.Name == "Name" {
			return identifying
		}
	case reflect.TypeFor[layout.Table]():
		if f.Name == "GUID" {
			return identifying
		}
	case reflect.TypeFor[layout.Entry]():
		switch f.Name {
		case "GUID", "Name", "Label":
			return identifying
		}
	}
	return ""
}

// dropForeign leaves out what is identifying in a value of another package's
// type.
func dropForeign(n *query.Node, t reflect.Type) *query.Node {
	k, t := kindOf(t)
	switch {
	case k == listKind:
		for i, e := range n.List {
			n.List[i] = dropForeign(e, t)
		}
	case k == objectKind && n.Kind == query.Object:
		kept := &query.Node{Kind: query.Object}
		for _, f := range fieldsOf(t) {
			if c := n.Member(f.name); c != nil && f.privacy == "" {
				kept.Members = append(kept.Members, query.Member{Key: f.name, Value: dropForeign(c, f.typ)})
			}
		}
		return kept
	}
	return n
}
