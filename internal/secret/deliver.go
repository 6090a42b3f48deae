package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Version of the document that EncodeForTarget writes and Decode reads.
const Version = 1

// document is what travels: {"version":1,"secrets":{"name":"base64"}}.
// Base64, because a secret may be bytes that are no UTF-8.
type document struct {
	Version int               `json:"version"`
	Secrets map[string][]byte `json:"secrets"`
}

// EncodeForTarget writes the secrets in the clear. What receives them has to
// live in RAM only, readable by root alone (mode 0600), and be removed once it
// was read: they must not reach a disk, a cache or an artefact.
func (s Set) EncodeForTarget(w io.Writer) error {
	doc := document{Version, map[string][]byte{}}
	for name, v := range s.values {
		doc.Secrets[name] = []byte(v.Reveal())
	}
	if err := json.NewEncoder(w).Encode(doc); err != nil {
		return fmt.Errorf("encode secrets: %w", err)
	}
	return nil
}

// maxDocument is the largest document that is read, in bytes.
const maxDocument = 1 << 20

// Decode reads what EncodeForTarget wrote. Its errors do not repeat what was
// read.
func Decode(r io.Reader) (Set, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	switch {
	case err != nil:
		return Set{}, fmt.Errorf("read secrets: %w", err)
	case len(b) > maxDocument:
		return Set{}, fmt.Errorf("read secrets: more than %d bytes", maxDocument)
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		return Set{}, fmt.Errorf("decode secrets: %w", quiet(err))
	}
	if doc.Version != Version {
		return Set{}, fmt.Errorf("decode secrets: version %d, this vic reads %d", doc.Version, Version)
	}
	s := Set{map[string]Value{}}
	for name, v := range doc.Secrets {
		if !isName(name) || len(v) == 0 || len(v) > MaxSize {
			return Set{}, errors.New("decode secrets: a name or a value is out of bounds")
		}
		s.values[name] = NewValue(string(v))
	}
	return s, nil
}

// quiet drops the text that errors of encoding/json quote.
func quiet(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("no JSON at byte %d", syntax.Offset)
	}
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fmt.Errorf("wrong JSON type at byte %d", typ.Offset)
	}
	return errors.New("no base64")
}

// IsText tells whether the secret is UTF-8 without control characters, as
// passwords and keys are.
func (v Value) IsText() bool {
	if !utf8.ValidString(v.Reveal()) {
		return false
	}
	for _, c := range v.Reveal() {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
