package secret

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"sync"
)

// minRedact is the length of the shortest secret that a Redactor looks for, in
// bytes: replacing every "1" would only make the output useless.
const minRedact = 4

// Redactor is a writer that replaces secrets in what passes through it, also
// when one is split over several writes. It finds a secret as it is, and as it
// stands in a JSON string. Safe for concurrent use.
type Redactor struct {
	mu      sync.Mutex
	w       io.Writer
	secrets [][]byte  // the longest first
	starts  [256]bool // bytes that a secret begins with
	held    []byte    // may be the beginning of a secret
}

// NewRedactor hides the secrets of s in what is written to w.
func NewRedactor(w io.Writer, s Set) *Redactor {
	r := &Redactor{w: w}
	for _, v := range s.values {
		r.hide([]byte(v.Reveal()))
		if quoted, err := json.Marshal(v.Reveal()); err == nil {
			r.hide(quoted[1 : len(quoted)-1])
		}
	}
	slices.SortFunc(r.secrets, func(a, b []byte) int { return len(b) - len(a) })
	return r
}

func (r *Redactor) hide(b []byte) {
	if len(b) >= minRedact {
		r.secrets = append(r.secrets, b)
		r.starts[b[0]] = true
	}
}

// Write implements io.Writer. What may be the beginning of a secret is held
// back until more comes, or Flush.
func (r *Redactor) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.pass(append(r.held, p...), false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what was held back. Call it at the end.
func (r *Redactor) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pass(r.held, true)
}

func (r *Redactor) pass(b []byte, last bool) error {
	var out []byte
	i := 0
	for i < len(b) {
		n, wait := r.match(b[i:])
		if wait && !last {
			break
		}
		if n > 0 {
			out = append(out, Redacted...)
			i += n
			continue
		}
		out = append(out, b[i])
		i++
	}
	r.held = slices.Clone(b[i:])
	if len(out) == 0 {
		return nil
	}
	_, err := r.w.Write(out)
	return err
}

// match tells how long the secret is that b begins with, and whether more
// bytes could make a longer one of it.
func (r *Redactor) match(b []byte) (n int, wait bool) {
	if !r.starts[b[0]] {
		return 0, false
	}
	for _, s := range r.secrets {
		switch {
		case bytes.HasPrefix(b, s):
			return len(s), wait
		case bytes.HasPrefix(s, b):
			wait = true
		}
	}
	return 0, wait
}

// Redact replaces the secrets in a text.
func (s Set) Redact(text string) string {
	var out bytes.Buffer
	r := NewRedactor(&out, s)
	if err := r.pass([]byte(text), true); err != nil {
		return Redacted // cannot happen: a bytes.Buffer takes everything
	}
	return out.String()
}
