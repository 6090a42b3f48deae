package deb

import (
	"archive/tar"
	"embed"
	"fmt"
	"regexp"
	"strings"
)

// trimFiles are sets of rules, one rule a line: "exclude GLOB" or
// "include GLOB".
//
//go:embed trim
var trimFiles embed.FS

// Trim decides which files of packages are left out, as dpkg(1) does with
// --path-exclude and --path-include: patterns match the absolute name, *
// matches slashes too, the last rule that matches wins. The nil Trim keeps
// everything.
type Trim struct{ rules []trimRule }

type trimRule struct {
	include bool
	glob    string
	match   *regexp.Regexp
}

// TrimSet joins the named sets (docs, locales, man), in order.
func TrimSet(names ...string) (*Trim, error) {
	t := &Trim{}
	for _, name := range names {
		text, err := trimFiles.ReadFile("trim/" + name)
		if err != nil {
			return nil, fmt.Errorf("trim set %q is not known (there are docs, locales, man)", name)
		}
		set, err := ParseTrim(string(text))
		if err != nil {
			return nil, fmt.Errorf("trim set %s: %w", name, err)
		}
		t.rules = append(t.rules, set.rules...)
	}
	return t, nil
}

// ParseTrim reads rules, one a line; empty lines and # comments are skipped.
func ParseTrim(text string) (*Trim, error) {
	t := &Trim{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		verb, glob, _ := strings.Cut(line, " ")
		glob = strings.TrimSpace(glob)
		if verb != "exclude" && verb != "include" || !strings.HasPrefix(glob, "/") {
			return nil, fmt.Errorf("rule %q is not exclude or include and an absolute pattern", line)
		}
		match, err := compileGlob(glob)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", line, err)
		}
		t.rules = append(t.rules, trimRule{verb == "include", glob, match})
	}
	return t, nil
}

// DpkgOptions are the rules as options of dpkg(1), for mmdebstrap's --dpkgopt.
func (t *Trim) DpkgOptions() []string {
	if t == nil {
		return nil
	}
	var opts []string
	for _, r := range t.rules {
		if r.include {
			opts = append(opts, "path-include="+r.glob)
		} else {
			opts = append(opts, "path-exclude="+r.glob)
		}
	}
	return opts
}

// Excludes says whether the entry with this clean relative name is left out. A
// directory, or a link that may stand for one, stays when an include pattern
// could bring something below it back.
func (t *Trim) Excludes(name string, typeflag byte) bool {
	if t == nil {
		return false
	}
	full := "/" + name
	excluded := false
	for _, r := range t.rules {
		if r.match.MatchString(full) {
			excluded = !r.include
		}
	}
	if !excluded || typeflag != tar.TypeDir && typeflag != tar.TypeSymlink {
		return excluded
	}
	for _, r := range t.rules {
		if r.include && strings.HasPrefix(full, literalDir(r.glob)) {
			return false
		}
	}
	return true
}

// literalDir is the part of a pattern before its first wildcard, without
// slashes at its end.
func literalDir(glob string) string {
	if i := strings.IndexAny(glob, `*?[\`); i >= 0 {
		glob = glob[:i]
	}
	return strings.TrimRight(glob, "/")
}

// compileGlob translates a pattern of fnmatch(3) without flags.
func compileGlob(glob string) (*regexp.Regexp, error) {
	var re strings.Builder
	re.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			re.WriteString(".*")
		case '?':
			re.WriteString(".")
		case '[':
			class, n, err := globClass(glob[i:])
			if err != nil {
				return nil, err
			}
			re.WriteString(class)
			i += n - 1
		case '\\':
			if i++; i == len(glob) {
				return nil, fmt.Errorf("backslash at the end")
			}
			re.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		default:
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return regexp.Compile(re.String() + `\z`)
}

// globClass translates "[...]" at the start of s, and says how long it is.
func globClass(s string) (class string, n int, err error) {
	body := s[1:]
	neg := ""
	if strings.HasPrefix(body, "!") || strings.HasPrefix(body, "^") {
		neg, body = "^", body[1:]
	}
	end := strings.IndexByte(body[min(1, len(body)):], ']') + 1
	if end == 0 {
		return "", 0, fmt.Errorf("[ without ]")
	}
	inside := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `&`, `\&`, `~`, `\~`).Replace(body[:end])
	return "[" + neg + inside + "]", len(s) - len(body) + end + 1, nil
}
