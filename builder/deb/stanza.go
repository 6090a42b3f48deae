package deb

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
)

// stanza is one paragraph of a control file (deb822(5)), without the empty
// line after it. Fields are found by scanning: most stanzas of Packages are
// never looked at again.
type stanza string

// get returns the value of a field with its continuation lines, or "".
// Field names are case-insensitive.
func (s stanza) get(name string) string {
	for field, value := range s.fields() {
		if strings.EqualFold(field, name) {
			return value
		}
	}
	return ""
}

// fields walks name and value (without the newline at its end).
func (s stanza) fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		rest := string(s)
		for rest != "" {
			var field string
			field, rest = cutField(rest)
			name, value, ok := strings.Cut(field, ":")
			if ok && !yield(name, strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// cutField takes the first field with its continuation lines off the front.
func cutField(s string) (field, rest string) {
	end := 0
	for {
		i := strings.IndexByte(s[end:], '\n')
		if i < 0 {
			return s, ""
		}
		end += i + 1
		if end == len(s) || s[end] != ' ' && s[end] != '\t' {
			return s[:end-1], s[end:]
		}
	}
}

// check refuses lines that are no field, a continuation of nothing, and a
// field given twice.
func (s stanza) check() error {
	seen := map[string]bool{}
	rest := string(s)
	for rest != "" {
		var field string
		field, rest = cutField(rest)
		name, _, ok := strings.Cut(field, ":")
		if !ok || !validFieldName(name) {
			return fmt.Errorf("line %.60q is not a field", field)
		}
		if seen[strings.ToLower(name)] {
			return fmt.Errorf("field %s is given twice", name)
		}
		seen[strings.ToLower(name)] = true
	}
	return nil
}

func validFieldName(s string) bool {
	if s == "" || s[0] == '-' || s[0] == '#' {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// stanzas walks the paragraphs of a file, which lines of nothing but blanks
// separate.
func stanzas(text []byte) iter.Seq[stanza] {
	return func(yield func(stanza) bool) {
		rest := string(text)
		for rest != "" {
			line, after := cutLine(rest)
			if blank(line) {
				rest = after
				continue
			}
			end := paragraphEnd(rest)
			if !yield(stanza(strings.TrimRight(rest[:end], "\r\n"))) {
				return
			}
			rest = rest[end:]
		}
	}
}

// paragraphEnd is where the first blank line starts.
func paragraphEnd(s string) int {
	for rest := s; rest != ""; {
		line, after := cutLine(rest)
		if blank(line) {
			return len(s) - len(rest)
		}
		rest = after
	}
	return len(s)
}

func cutLine(s string) (line, rest string) {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

func blank(line string) bool {
	return line == "" || line[0] <= ' ' && strings.TrimSpace(line) == ""
}

// oneStanza reads a file of exactly one paragraph.
func oneStanza(text []byte) (stanza, error) {
	var found []stanza
	for s := range stanzas(text) {
		if found = append(found, s); len(found) > 1 {
			return "", fmt.Errorf("more than one paragraph")
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("empty file")
	}
	return found[0], found[0].check()
}

// isText refuses bytes that no control file has.
func isText(b []byte) bool { return bytes.IndexByte(b, 0) < 0 }
