package template

import (
	"errors"
	"fmt"
)

// Segment is a part of a rendered text: Text, or the name of a secret that
// takes its place when the text is written.
type Segment struct {
	Text    string   `json:"text,omitempty"`
	Secret  string   `json:"secret,omitempty"`
	Filters []Filter `json:"filters,omitempty"` // that the secret goes through, in order
}

// Secrets are the names of the secrets in segments, in their order.
func Secrets(segments []Segment) []string {
	var names []string
	for _, s := range segments {
		if s.Secret != "" {
			names = append(names, s.Secret)
		}
	}
	return names
}

// Fill puts the secrets in their places. Its errors name secrets and never
// repeat them.
func Fill(segments []Segment, reveal func(name string) (string, error)) ([]byte, error) {
	var out []byte
	var errs []error
	for _, s := range segments {
		if s.Secret == "" {
			out = append(out, s.Text...)
			continue
		}
		value, err := reveal(s.Secret)
		if err == nil && value == "" {
			err = errors.New("it is empty")
		}
		for _, f := range s.Filters {
			if err == nil {
				value, err = f.apply(value)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("secret %q: %w", s.Secret, err))
		}
		out = append(out, value...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}
