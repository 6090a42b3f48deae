package layout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with a layout. Parse and Validate report all that
// they find, joined.
type Error struct {
	Source string // the name given to Parse; empty for Validate
	// Line and Column count from 1; 0 when there is no text to point into.
	Line, Column int
	Path         string // disk.main.content.partitions.ESP.size
	Msg          string
	// Nearest is the name that was probably meant; may be empty.
	Nearest string

	// absent: something is missing that may have been written down wrongly.
	absent bool
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != "" {
		b.WriteString(e.Source)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	if e.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Nearest)
	}
	return b.String()
}

// join orders the errors by position and makes one error of them.
func join(list []*Error) error {
	slices.SortStableFunc(list, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	errs := make([]error, len(list))
	for i, e := range list {
		errs[i] = e
	}
	return errors.Join(errs...)
}
