// Package query addresses facts: trees of JSON, paths into them, and
// comparisons.
//
//	hw.nic.0.hwaddr                     members and indices, counted from 0
//	hw.nic[driver=virtio_net].name      elements by what they have
//	hw.disk[size>1e9,rotational=false]  several comparisons, all of which hold
//	hw.nic.*.driver                     every element
//	state.links."eth0.100".mtu          a name with dots in it
//
// It knows nothing of what a machine is: package envscan makes the trees.
package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Kind is what a Node is.
type Kind int

// The kinds of JSON values.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a text", "a list", "an object"}[k]
}

// Node is a JSON value. Members of objects keep their order.
type Node struct {
	Kind Kind
	// Text is true, false, the number as it is written, or the string.
	Text    string
	List    []*Node
	Members []Member
}

// Member is one of an object.
type Member struct {
	Key   string
	Value *Node
}

// Member returns the member of an object, nil without; of nil too.
func (n *Node) Member(key string) *Node {
	if n == nil {
		return nil
	}
	for _, m := range n.Members {
		if m.Key == key {
			return m.Value
		}
	}
	return nil
}

// Keys are the names of an object's members.
func (n *Node) Keys() []string {
	var keys []string
	for _, m := range n.Members {
		keys = append(keys, m.Key)
	}
	return keys
}

// Scalar says whether n is neither an object nor a list.
func (n *Node) Scalar() bool { return n.Kind != Object && n.Kind != List }

// Zero says whether n has nothing in it: null, an empty text or list, 0, false,
// and objects of such.
func (n *Node) Zero() bool {
	switch n.Kind {
	case Null:
		return true
	case Bool:
		return n.Text == "false"
	case Number:
		f, err := strconv.ParseFloat(n.Text, 64)
		return err == nil && f == 0
	case String:
		return n.Text == ""
	case List:
		return len(n.List) == 0
	}
	return !slices.ContainsFunc(n.Members, func(m Member) bool { return !m.Value.Zero() })
}

// Any is n as encoding/json decodes it, with numbers as json.Number.
func (n *Node) Any() any {
	switch n.Kind {
	case Null:
		return nil
	case Bool:
		return n.Text == "true"
	case Number:
		return json.Number(n.Text)
	case String:
		return n.Text
	case List:
		list := make([]any, 0, len(n.List))
		for _, e := range n.List {
			list = append(list, e.Any())
		}
		return list
	}
	object := make(map[string]any, len(n.Members))
	for _, m := range n.Members {
		object[m.Key] = m.Value.Any()
	}
	return object
}

// MarshalJSON writes n with its members in order.
func (n *Node) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := n.write(&b)
	return b.Bytes(), err
}

func (n *Node) write(b *bytes.Buffer) error {
	switch n.Kind {
	case Null:
		b.WriteString("null")
	case Bool, Number:
		b.WriteString(n.Text)
	case String:
		return quote(b, n.Text)
	case List:
		b.WriteByte('[')
		for i, e := range n.List {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := e.write(b); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case Object:
		b.WriteByte('{')
		for i, m := range n.Members {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := quote(b, m.Key); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := m.Value.write(b); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	}
	return nil
}

func quote(b *bytes.Buffer, s string) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return fmt.Errorf("quote %q: %w", s, err)
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
	return nil
}

// maxDepth bounds what Parse takes: facts are ten deep.
const maxDepth = 100

// Parse reads one JSON value. Of a member that is there twice the last counts.
func Parse(doc []byte) (*Node, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	n, err := parse(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is something behind the end, at byte %d", d.InputOffset())
	}
	return n, nil
}

func parse(d *json.Decoder, depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels deep", maxDepth)
	}
	t, err := next(d)
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case nil:
		return &Node{}, nil
	case bool:
		return &Node{Kind: Bool, Text: strconv.FormatBool(t)}, nil
	case json.Number:
		return &Node{Kind: Number, Text: t.String()}, nil
	case string:
		return &Node{Kind: String, Text: t}, nil
	}
	if t == json.Delim('[') {
		return parseList(d, depth)
	}
	return parseObject(d, depth)
}

// next is a token where there has to be one.
func next(d *json.Decoder) (json.Token, error) {
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}

func parseList(d *json.Decoder, depth int) (*Node, error) {
	n := &Node{Kind: List}
	for d.More() {
		e, err := parse(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.List = append(n.List, e)
	}
	_, err := next(d) // ]
	return n, err
}

func parseObject(d *json.Decoder, depth int) (*Node, error) {
	n := &Node{Kind: Object}
	at := map[string]int{}
	for d.More() {
		key, err := next(d)
		if err != nil {
			return nil, err
		}
		v, err := parse(d, depth+1)
		if err != nil {
			return nil, err
		}
		name := key.(string) // Token refuses everything else here
		if i, again := at[name]; again {
			n.Members[i].Value = v
			continue
		}
		at[name] = len(n.Members)
		n.Members = append(n.Members, Member{name, v})
	}
	_, err := next(d) // }
	return n, err
}
