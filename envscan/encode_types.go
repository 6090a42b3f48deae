package envscan

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/victorinix/vic/disk/layout"
)

// typeField is a member of an object, by the tags of a Go field.
type typeField struct {
	name    string
	typ     reflect.Type
	index   []int
	unit    string
	privacy string
	// owner and goName say where the field is declared, for its comment.
	owner  reflect.Type
	goName string
}

// fieldsOf are the members that a struct has in JSON; those of embedded structs
// are its own.
func fieldsOf(t reflect.Type) []typeField {
	var list []typeField
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Tag.Get("json") == "" {
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				list = append(list, in)
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || unused(t, f.Name) {
			continue
		}
		list = append(list, typeField{name, f.Type, []int{i}, f.Tag.Get("unit"), privacyOf(t, f), t, f.Name})
	}
	return list
}

// unused are fields of other packages' types that a scan never fills: what a
// layout wishes a partition to be.
func unused(t reflect.Type, field string) bool {
	return t == reflect.TypeFor[layout.Entry]() && (field == "Content" || field == "Kept" || field == "OldLast")
}

// kind is what a Go type is in a document.
type kind int

const (
	scalarKind kind = iota
	objectKind
	listKind
	mapKind
)

// kindOf also returns the type below a pointer, of an element, or of a map's
// values.
func kindOf(t reflect.Type) (kind, reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	text := t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
	self := t.Implements(reflect.TypeFor[json.Marshaler]()) && t.PkgPath() != own
	switch {
	case text || self:
		return scalarKind, t
	case t.Kind() == reflect.Struct:
		return objectKind, t
	case t.Kind() == reflect.Slice:
		return listKind, t.Elem()
	case t.Kind() == reflect.Map:
		return mapKind, t.Elem()
	}
	return scalarKind, t
}
