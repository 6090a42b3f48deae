package kmod

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Match finds the modules of each modalias, in the order of modules.alias.
// Modaliases that no module claims are not in the result.
func (t *Tree) Match(modaliases []string) (map[string][]string, error) {
	if len(modaliases) == 0 {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(t.dir, "modules.alias"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := Match(f, modaliases)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return found, nil
}

// Match finds the modules of each modalias in the text of modules.alias: lines
// of "alias PATTERN MODULE". Modaliases that no module claims are not in the
// result.
func Match(r io.Reader, modaliases []string) (map[string][]string, error) {
	q := newQuestions(modaliases)
	found := map[string][]string{}
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), 64<<10)
	for s.Scan() {
		rest, ok := bytes.CutPrefix(s.Bytes(), []byte("alias "))
		if !ok {
			continue
		}
		pattern, module, ok := bytes.Cut(rest, []byte(" "))
		if !ok {
			continue
		}
		for _, a := range q.candidates(pattern) {
			name := normal(string(module))
			if glob(pattern, a.alias) && !slices.Contains(found[a.alias], name) {
				found[a.alias] = append(found[a.alias], name)
			}
		}
	}
	return found, s.Err()
}

// question is a modalias to find modules for.
type question struct {
	alias string
	key   string // with underscores for dashes
}

// questions are sorted by key, so that those which begin as a pattern does are
// found by binary search: nearly all patterns are done with at that.
type questions []question

func newQuestions(modaliases []string) questions {
	var q questions
	for _, a := range modaliases {
		q = append(q, question{a, normal(a)})
	}
	slices.SortFunc(q, func(a, b question) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.alias, b.alias))
	})
	return slices.Compact(q)
}

// candidates returns the questions that begin with what stands before the
// first wildcard of pattern.
func (q questions) candidates(pattern []byte) questions {
	head := pattern
	if i := bytes.IndexAny(pattern, `*?[\`); i >= 0 {
		head = pattern[:i]
	}
	first, _ := slices.BinarySearchFunc(q, head, func(a question, head []byte) int { return compareKey(a.key, head) })
	last := first
	for last < len(q) && len(q[last].key) >= len(head) && compareKey(q[last].key[:len(head)], head) == 0 {
		last++
	}
	return q[first:last]
}

// compareKey compares a key with bytes that may have dashes for underscores.
func compareKey(key string, b []byte) int {
	for i := range min(len(key), len(b)) {
		if c := cmp.Compare(key[i], dash(b[i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(key), len(b))
}

// glob is fnmatch(3) without flags, with '-' equal to '_' outside of brackets,
// as modprobe(8) compares. A malformed bracket matches nothing.
func glob(pattern []byte, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0 // the last '*', and what it has swallowed up to
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if n := matchOne(pattern[p:], s[i]); n > 0 {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne compares one byte with the head of a pattern and returns the length
// of that head, or 0.
func matchOne(pattern []byte, c byte) int {
	if len(pattern) == 0 {
		return 0
	}
	switch pattern[0] {
	case '?':
		return 1
	case '[':
		return matchBracket(pattern, c)
	case '\\':
		if len(pattern) > 1 && dash(pattern[1]) == dash(c) {
			return 2
		}
		return 0
	}
	if dash(pattern[0]) == dash(c) {
		return 1
	}
	return 0
}

func dash(c byte) byte {
	if c == '-' {
		return '_'
	}
	return c
}

// matchBracket compares c with a bracket expression: "[abc]", "[a-f0-9]", "[!x]".
func matchBracket(pattern []byte, c byte) int {
	i, in := 1, false
	negated := len(pattern) > 1 && (pattern[1] == '!' || pattern[1] == '^')
	if negated {
		i++
	}
	for first := i; i < len(pattern); i++ {
		lo := pattern[i]
		if lo == ']' && i > first {
			if in != negated {
				return i + 1
			}
			return 0
		}
		hi := lo
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			hi = pattern[i+2]
			i += 2
		}
		in = in || lo <= c && c <= hi
	}
	return 0
}
