package envscan

import (
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan/query"
)

// What Report.Redacted says.
const (
	RedactHash = "hash"
	RedactDrop = "drop"
)

// The values of the tag privacy.
const (
	identifying = "identifying"
	secret      = "secret"
)

// privacyOf is a field's privacy. Types of other packages have no such tag:
// what tells one of their values from another is here.
func privacyOf(t reflect.Type, f reflect.StructField) string {
	if p := f.Tag.Get("privacy"); p != "" {
		return p
	}
	var fields []string
	switch t {
	case reflect.TypeFor[probe.Result]():
		fields = []string{"UUID", "SubUUID", "Label"}
	case reflect.TypeFor[probe.Group]():
		fields = []string{"Name"}
	case reflect.TypeFor[layout.Table]():
		fields = []string{"GUID"}
	case reflect.TypeFor[layout.Entry]():
		fields = []string{"GUID", "Name", "Label"}
	}
	if slices.Contains(fields, f.Name) {
		return identifying
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

// minKey is the least length of a key: with a guessable one, everybody can hash
// all MAC addresses of a maker and compare.
const minKey = 16

// Redactor takes identifying values out of facts.
//
// A hash is the value's HMAC-SHA256 under a key, cut short and in the form of
// the value (see hasher), so that equal values stay equal, in all documents that
// the same key was used for. Dropped fields are absent.
//
// Identifying values also turn up in fields that are public by themselves: a MAC
// in the name of an interface, a serial number in that of a boot entry. So all
// that the tagged fields of a document hold is searched for in all other texts
// and names (see scrubber).
type Redactor struct {
	mode string
	hash hasher
}

// NewRedactor makes one of RedactHash or RedactDrop. An empty key is a random
// one.
func NewRedactor(mode string, key []byte) (*Redactor, error) {
	if mode != RedactHash && mode != RedactDrop {
		return nil, fmt.Errorf("redact facts: %q is neither %s nor %s", mode, RedactHash, RedactDrop)
	}
	if key == nil {
		key = make([]byte, 32)
		rand.Read(key) // it never fails
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("a key of %d bytes can be guessed: it needs %d", len(key), minKey)
	}
	return &Redactor{mode, hasher{key}}, nil
}

// Redact returns a copy of f without its identifying values.
func (r *Redactor) Redact(f Facts) (Facts, error) {
	if f.Scan.Redacted != "" {
		return Facts{}, errors.New("it was done before")
	}
	doc, err := f.MarshalJSON()
	if err != nil {
		return Facts{}, err
	}
	var c Facts
	if err := c.UnmarshalJSON(doc); err != nil {
		return Facts{}, err
	}
	w := r.redaction(c)
	w.walk(reflect.ValueOf(&c).Elem(), "", "")
	c.Scan.Redacted = r.mode
	return c, nil
}

func (r *Redactor) redaction(f Facts) *redaction {
	w := &redaction{mode: r.mode, hash: r.hash, public: publicNames(f)}
	w.scrub = newScrubber(w.collect(f), w.replace)
	return w
}

// publicNames are the names of hardware's interfaces: references to them are no
// more identifying than they.
func publicNames(f Facts) map[string]bool {
	names := map[string]bool{"lo": true}
	for _, n := range f.HW.NIC {
		names[n.Name] = true
	}
	return names
}

// redaction is that of one document.
type redaction struct {
	mode   string
	hash   hasher
	public map[string]bool
	scrub  *scrubber
}

// collect lists the identifying texts of a document.
func (w *redaction) collect(f Facts) []string {
	var found []string
	c := redaction{mode: RedactHash, scrub: &scrubber{}}
	c.scrub.seen = func(s string) {
		if !w.public[s] {
			found = append(found, s)
		}
	}
	c.walk(reflect.ValueOf(&f).Elem(), "", "")
	return found
}

// walk redacts v in place. A field has the privacy of what holds it, unless it
// has one of its own. key is its name in JSON.
func (w *redaction) walk(v reflect.Value, key, privacy string) {
	if id, ok := v.Interface().(uuid.UUID); ok {
		if privacy != "" && id != uuid.Nil {
			v.Set(reflect.ValueOf(w.uuid(id)))
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			w.walk(v.Elem(), key, privacy)
		}
	case reflect.Struct:
		w.object(v, privacy)
	case reflect.Slice:
		for i := range v.Len() {
			w.walk(v.Index(i), key, privacy)
		}
	case reflect.Map:
		w.names(v, key, privacy)
	case reflect.String:
		v.SetString(w.text(v.String(), key, privacy))
	}
}

func (w *redaction) object(v reflect.Value, privacy string) {
	for _, f := range fieldsOf(v.Type()) {
		p := f.privacy
		if p == "" {
			p = privacy
		}
		field := v.FieldByIndex(f.index)
		if w.scrub.seen == nil && (encoder{w.mode}).without(p) {
			field.SetZero()
			continue
		}
		key := f.name
		if vocabulary[f.owner.Name()+"."+key] {
			key = "type"
		}
		w.walk(field, key, p)
	}
}

// names redacts the keys of a map, and what they name.
func (w *redaction) names(v reflect.Value, key, privacy string) {
	if v.IsNil() {
		return
	}
	out := reflect.MakeMap(v.Type())
	for k, e := range v.Seq2() {
		c := reflect.New(v.Type().Elem()).Elem()
		c.Set(e)
		w.walk(c, "", privacy)
		out.SetMapIndex(reflect.ValueOf(w.text(k.String(), key, privacy)), c)
	}
	v.Set(out)
}

func (w *redaction) text(s, key, privacy string) string {
	switch {
	case w.scrub.seen != nil:
		if privacy != "" && s != "" {
			w.scrub.seen(s)
		}
		return s
	case s == "" || vocabulary[key] && privacy == "":
		return s
	case privacy != "" && !w.public[s]:
		return w.hash.text(s)
	}
	return w.scrub.text(s)
}

func (w *redaction) uuid(id uuid.UUID) uuid.UUID {
	if w.scrub.seen != nil {
		w.scrub.seen(id.String())
		return id
	}
	return w.hash.uuid(id.String())
}

// dropped stands for an identifying value inside of another text.
const dropped = "(dropped)"

// replace is what takes the place of an identifying value inside of a text.
func (w *redaction) replace(s string) string {
	if w.mode == RedactDrop {
		return dropped
	}
	return w.hash.text(s)
}

// vocabulary are the fields, by their names in JSON or with their type, that
// hold words of the kernel or of a distribution and nothing of this machine's: a
// host named debian does not hide that it runs Debian.
var vocabulary = map[string]bool{
	"schema": true, "only": true, "redacted": true, "arch": true, "type": true, "kind": true, "transport": true, "driver": true, "module": true,
	"usage": true, "family": true, "unit": true, "chip": true, "class": true, "protocol": true, "verdict": true, "hwaddrFrom": true, "flags": true,
	"scheme": true, "security": true, "OS.id": true, "OS.like": true, "OS.codename": true, "OS.init": true, "OS.libc": true, "OS.vm": true, "OS.container": true,
}
