// Package secret keeps values that must never be seen: where they come from,
// how they are hidden, and how they reach the target.
//
//	-s name=value | name=@FILE | name=env:VAR --Parse--> Set
//	--secrets FILE.age, --identity FILE --internal/agefile--> Set
//	Set --EncodeForTarget--> a file in the RAM of the target --Decode--> Set
//
// A Value hides itself from every kind of printing and encoding; only Reveal
// and EncodeForTarget give it away. A Redactor is the second line of defence,
// for output of foreign programs. The package does not decide which secrets an
// item needs, and stores nothing on disk.
package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what a Value shows in place of itself.
const Redacted = "[secret]"

// Value is a secret. The zero Value is empty.
//
// It holds a pointer, because fmt does not call the methods of an unexported
// field but prints what it finds: this way it finds an address.
type Value struct{ p *string }

// NewValue hides s.
func NewValue(s string) Value { return Value{&s} }

// Reveal is the secret itself.
func (v Value) Reveal() string {
	if v.p == nil {
		return ""
	}
	return *v.p
}

// String hides the value.
func (Value) String() string { return Redacted }

// GoString hides the value from %#v.
func (Value) GoString() string { return Redacted }

// Format hides the value from every other verb of fmt.
func (Value) Format(f fmt.State, _ rune) { fmt.Fprint(f, Redacted) }

// MarshalText hides the value from encoders.
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON hides the value from JSON.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalYAML hides the value from YAML.
func (Value) MarshalYAML() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// LogValue hides the value from log/slog.
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }
