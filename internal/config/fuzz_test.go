package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/victorinix/vic/internal/config"
)

// FuzzInline feeds the YAML layer: it must not panic, and what it accepts must
// survive being written as JSON and the accessors.
func FuzzInline(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "hostname: web1", "{packages: [a, b], cpus: 3}", "memory: 1G\n---\n", "? a\n: b", "<<: *x",
		"sshkey: '@/nonexistent'", "cpus: 99999999999999999999", "kernel-params:\n- a\n- b # c\n", "suite: |\n  a\n  b\n",
		"\xff: \x00", "a: &a [*a]", "hostname: '{{ env \"os\" }}'", "files: [{path: /a, content: '{{ secret \"password\" }}'}]\nunits: [{name: a.service, content: |\n  {{ option \"suite\" }}\n}]", "!!binary x: y", "suite: !!str 13",
	} {
		f.Add(seed)
	}
	r := open(f)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(dir, "fuzz.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := r.Load("debian", config.Layers{Inline: []string{file}})
		if err != nil {
			return
		}
		if _, err := c.MarshalJSON(); err != nil {
			t.Errorf("accepted, but not written as JSON: %v", err)
		}
		c.Select("packages")
		if n := c.Int("cpus"); n < 1 || n > 256 {
			t.Errorf("cpus out of range: %d", n)
		}
	})
}

// FuzzItem feeds a user's item file.
func FuzzItem(f *testing.F) {
	for _, seed := range []string{
		"from: debian\noptions:\n  hostname: a\n", "types: [vm]\nlists: {packages: [{names: [a], when: {cpus: ['2']}}]}",
		"from: debian\nsecrets: {a: {required: true}}", "from: [debian]", "from: debian\nrequires: {os: [a, null]}\nfiles:\n- path: /a\n  content: |\n    {{ env \"os\" }}\n  mode: 0644\n", "options: &a\n  b: *a",
	} {
		f.Add(seed)
	}
	r := open(f)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(dir, "fuzz.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := r.Load(file, config.Layers{})
		if err != nil {
			return
		}
		for _, list := range c.Lists() {
			c.Select(list)
		}
		if len(c.Item().Types) == 0 {
			t.Error("accepted an item without types")
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"0", "512M", "8GiB", "1MB", "-1", "9223372036854775807", "8E", "99999999T", "1KK"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := config.ParseSize(s)
		if err != nil {
			return
		}
		if again, err := config.ParseSize(config.FormatSize(n)); err != nil || again != n || n < 0 {
			t.Errorf("%q is %d, written %q, read again %d, %v", s, n, config.FormatSize(n), again, err)
		}
	})
}
