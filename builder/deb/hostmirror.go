package deb

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// HostMirror finds the Debian mirror in the apt sources (sources.list(5))
// below root, the host's "/". An entry whose path ends in /debian wins over one
// that serves Debian's suites under another path; security, third-party and
// disabled entries do not count.
func HostMirror(root string) (string, error) {
	sources, err := hostSources(root)
	if err != nil {
		return "", fmt.Errorf("find Debian mirror: %w", err)
	}
	second := ""
	for _, s := range sources {
		switch rankSource(s) {
		case 2:
			return strings.TrimRight(s.uri, "/"), nil
		case 1:
			second = cmpFirst(second, strings.TrimRight(s.uri, "/"))
		}
	}
	if second == "" {
		return "", fmt.Errorf("find Debian mirror: the apt sources in %s name none", filepath.Join(root, "etc/apt"))
	}
	return second, nil
}

// HostSecurityMirror finds the mirror of Debian's security updates in the apt
// sources below root: an entry with a suite NAME-security. Empty if there is
// none.
func HostSecurityMirror(root string) (string, error) {
	sources, err := hostSources(root)
	if err != nil {
		return "", fmt.Errorf("find Debian security mirror: %w", err)
	}
	for _, s := range sources {
		release, ok := strings.CutSuffix(s.suite, "-security")
		if ok && slices.Contains(debianSuites, release) {
			return strings.TrimRight(s.uri, "/"), nil
		}
	}
	return "", nil
}

// hostSources reads all enabled apt sources, in apt's order.
func hostSources(root string) ([]source, error) {
	files, err := sourceFiles(root)
	if err != nil {
		return nil, err
	}
	var all []source
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(file, ".sources") {
			all = append(all, parseDeb822Sources(b)...)
		} else {
			all = append(all, parseOneLine(string(b))...)
		}
	}
	return all, nil
}

func cmpFirst(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func sourceFiles(root string) ([]string, error) {
	apt := filepath.Join(root, "etc/apt")
	var files []string
	if main := filepath.Join(apt, "sources.list"); fileExists(main) {
		files = append(files, main)
	}
	dir, err := os.ReadDir(filepath.Join(apt, "sources.list.d"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var more []string
	for _, e := range dir {
		if strings.HasSuffix(e.Name(), ".list") || strings.HasSuffix(e.Name(), ".sources") {
			more = append(more, filepath.Join(apt, "sources.list.d", e.Name()))
		}
	}
	sort.Strings(more)
	return append(files, more...), nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// source is one combination of URI and suite.
type source struct {
	uri, suite string
	components []string
}

// parseOneLine reads "deb [options] URI SUITE COMPONENT..." lines.
func parseOneLine(text string) []source {
	var all []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		if words := strings.Fields(rest); len(words) >= 2 {
			all = append(all, source{words[0], words[1], words[2:]})
		}
	}
	return all
}

func parseDeb822Sources(b []byte) []source {
	var kept []string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			kept = append(kept, line)
		}
	}
	var all []source
	for s := range stanzas([]byte(strings.Join(kept, ""))) {
		enabled := strings.ToLower(s.get("Enabled"))
		if !slices.Contains(strings.Fields(s.get("Types")), "deb") || slices.Contains([]string{"no", "false", "off", "0", "without", "disable"}, enabled) {
			continue
		}
		for _, uri := range strings.Fields(s.get("URIs")) {
			for _, suite := range strings.Fields(s.get("Suites")) {
				all = append(all, source{uri, suite, strings.Fields(s.get("Components"))})
			}
		}
	}
	return all
}

// debianSuites are names that a suite of Debian starts with.
var debianSuites = []string{
	"stable", "testing", "unstable", "sid", "oldstable", "oldoldstable",
	"bullseye", "bookworm", "trixie", "forky", "duke",
}

// rankSource is 2 for a path that ends in /debian, 1 for Debian's suites
// elsewhere, 0 for what is not Debian's main archive.
func rankSource(s source) int {
	u, err := url.Parse(s.uri)
	if err != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) {
		return 0
	}
	path := strings.TrimRight(u.Path, "/")
	base, pocket, _ := strings.Cut(s.suite, "-")
	base, _, _ = strings.Cut(base, "/")
	if strings.Contains(path, "security") || strings.Contains(s.suite, "security") || !slices.Contains(s.components, "main") {
		return 0
	}
	if strings.HasSuffix(path, "/debian") {
		return 2
	}
	if slices.Contains(debianSuites, base) && (pocket == "" || pocket == "updates" || pocket == "backports") {
		return 1
	}
	return 0
}
