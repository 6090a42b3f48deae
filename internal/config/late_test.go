package config_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// fewFacts is a schema of two facts.
func fewFacts(path string) error {
	if path == "hw.nic.0.hwaddr" || path == "os" || path == "hw.nic" {
		return nil
	}
	return fmt.Errorf("no fact %s", path)
}

func TestOptionsMayBeTemplates(t *testing.T) {
	c := load(t, "debian", config.Layers{
		Inline: []string{"hostname: 'n-{{ env \"hw.nic.0.hwaddr\" }}'\nusername: '{{ option \"hostname\" }}'\nkeymap: de\n" +
			"packages: ['console-{{ option \"keymap\" }}', vim]\nkernel-params: [quiet, 'a={{ env \"os\" }}', 'b={{ \"{{\" }}']"},
		Options: []string{`timezone=Europe/{{ option "keymap" | upper }}`, `locale=de_{{ option "keymap" | upper }}.UTF-8`},
		Facts:   fewFacts,
	})
	for key, want := range map[string]string{
		"timezone": "Europe/DE", "locale": "de_DE.UTF-8", "packages": "console-de,vim",
		"hostname": `n-{{ env "hw.nic.0.hwaddr" }}`, "username": `{{ option "hostname" }}`,
	} {
		if got := c.Text(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if c.Late("timezone") || !c.Late("hostname") || !c.Late("username") || !c.Late("kernel-params") || c.Late("suite") {
		t.Error("Late is wrong")
	}
	want := []request.Option{
		{Name: "hostname", Value: `n-{{ env "hw.nic.0.hwaddr" }}`,
			Rule: &request.Rule{Hostname: true, Expects: "a host name: letters, digits and -, at most 64 characters"}},
		{Name: "kernel-params", List: true, Items: []string{"quiet", `a={{ env "os" }}`, `b={{ "{{" }}`},
			Rule: &request.Rule{Pattern: "[!-~]+", Expects: "a kernel parameter without spaces"}},
		{Name: "username", Value: `{{ option "hostname" }}`,
			Rule: &request.Rule{Pattern: "[a-z_][a-z0-9_-]{0,31}", Optional: true, Expects: "a user name of at most 32 lower-case letters, digits, _ and -"}},
	}
	if diff := cmp.Diff(want, c.Options()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"hw.nic.0.hwaddr", "os"}, c.Facts()); diff != "" {
		t.Error(diff)
	}
}

// A literal that looks like an action stays one on its way to the target.
func TestTemplateOfALiteral(t *testing.T) {
	c := load(t, "debian", config.Layers{Options: []string{`kernel-params={{ "{{" }}x`}})
	if got := c.List("kernel-params"); !slices.Equal(got, []string{"{{x"}) {
		t.Errorf("got %q", got)
	}
	tmpl, err := template.Parse(c.Templates("kernel-params")[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tmpl.Text(template.Source{}); err != nil || got != "{{x" {
		t.Errorf("got %q, %v", got, err)
	}
}

const webItem = `from: debian
requires:
  env.os: linux
  hw.nic.0.hwaddr: ["52:54:00:00:00:01", null]
secrets:
  key: {description: k}
  pin: {description: p}
files:
  - path: /home/{{ option "username" }}/.netrc
    owner: '{{ option "username" }}'
    content: |
      password {{ secret "key" }}
      {{- if has "hw.nic" }}{{ secret "pin" }}{{ end }}
  - path: /etc/issue
    source: issue.txt
    mode: 0444
    group: "12"
  - path: /etc/tmpl
    verbatim: true
    content: "{{ .Values.x }}"
  - {path: /etc/kernel, content: generic}
  - path: /etc/kernel
    when: {kernel: cloud}
    content: cloud
  - path: /etc/never
    unless: {arch: [amd64, arm64]}
    content: x
units:
  - name: app.service
    enabled: true
    content: "[Service]"
`

func TestFilesAndUnits(t *testing.T) {
	dir := write(t, map[string]string{"web.yaml": webItem, "issue.txt": "{{ option \"packages\" }} {{ env \"os\" }}\n"})
	layers := config.Layers{Options: []string{"username=anna", "kernel=cloud", "packages=vim"}, Facts: fewFacts}
	c := load(t, filepath.Join(dir, "web.yaml"), layers)
	want := []request.File{
		{Path: "/home/anna/.netrc", Mode: 0o600, Owner: "anna", Content: "password {{ secret \"key\" }}\n{{- if has \"hw.nic\" }}{{ secret \"pin\" }}{{ end }}\n"},
		{Path: "/etc/issue", Mode: 0o444, Owner: "root", Group: "12", Content: "{{ option \"packages\" }} {{ env \"os\" }}\n"},
		{Path: "/etc/tmpl", Mode: 0o644, Owner: "root", Content: `{{"{{"}} .Values.x }}`},
		{Path: "/etc/kernel", Mode: 0o644, Owner: "root", Content: "cloud"},
	}
	if diff := cmp.Diff(want, c.Files()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]request.Unit{{Name: "app.service", Content: "[Service]", Enabled: true}}, c.Units()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]request.Option{{Name: "packages", Value: "vim", List: true, Items: []string{"vim"}}}, c.Options()); diff != "" {
		t.Error(diff)
	}
	requires := []request.Requirement{{Fact: "hw.nic.0.hwaddr", OneOf: []string{"52:54:00:00:00:01"}, None: true}, {Fact: "os", OneOf: []string{"linux"}}}
	if diff := cmp.Diff(requires, c.Requires()); diff != "" {
		t.Error(diff)
	}
	for _, s := range c.Item().Secrets {
		if s.Required != (s.Name == "key") {
			t.Errorf("secret %s: required is %v", s.Name, s.Required)
		}
	}
}

// -n adds to the item, and a file of the same path takes the place of another.
func TestFilesGivenWithN(t *testing.T) {
	dir := write(t, map[string]string{"web.yaml": webItem, "issue.txt": "issue", "sub.yaml": "files: [{path: /etc/sub, source: issue.txt}]"})
	c := load(t, filepath.Join(dir, "web.yaml"), config.Layers{Facts: fewFacts, Options: []string{"username=anna"}, Inline: []string{
		filepath.Join(dir, "sub.yaml"),
		"hostname: x\nrequires: {os: [freebsd, linux]}\nsecrets: {more: {description: m, required: true}}\nfiles: [{path: /etc/issue, content: '{{ secret \"more\" }}'}]",
	}})
	var got []string
	for _, f := range c.Files() {
		got = append(got, fmt.Sprintf("%s %o %s", f.Path, f.Mode, f.Content[:min(5, len(f.Content))]))
	}
	if diff := cmp.Diff([]string{"/home/anna/.netrc 600 passw", `/etc/issue 600 {{ se`, `/etc/tmpl 644 {{"{{`, "/etc/kernel 644 gener", "/etc/sub 644 issue"}, got); diff != "" {
		t.Error(diff)
	}
	if r := c.Requires(); len(r) != 2 || len(r[1].OneOf) != 2 || c.String("hostname") != "x" {
		t.Errorf("got %+v", r)
	}
	if again := load(t, "debian", config.Layers{}); len(again.Files()) != 0 || len(again.Item().Secrets) != 1 {
		t.Error("the item itself has changed")
	}
}

// Items that vic has built in read files beside them.
func TestBuiltInSource(t *testing.T) {
	r, err := config.Open(fstest.MapFS{
		"types/t.yaml":   {Data: []byte("options: {a: {type: bool, default: true, description: d, layer: build}}")},
		"items/i.yaml":   {Data: []byte("types: [t]\nfiles: [{path: /etc/x, source: i/x.txt}]")},
		"items/i/x.txt":  {Data: []byte("it is {{ option \"a\" }}")},
		"items/none.txt": {},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Load("i", config.Layers{})
	if err != nil || len(c.Files()) != 1 || c.Files()[0].Content != "it is {{ option \"a\" }}" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestLateRefuses(t *testing.T) {
	dir := write(t, map[string]string{
		"secret.yaml": "from: debian\nsecrets: {api-key: {description: k}}\nfiles:\n  - path: /etc/x\n    content: >\n      folded {{ secret\n      \"api-kye\" }}\n",
		"source.yaml": "from: debian\nfiles: [{path: /etc/x, source: tmpl.txt}, {path: /etc/y, source: none.txt}, {path: /z, source: binary}]\n",
		"tmpl.txt":    "one\n{{ env \"os\" }} {{ env \"hw.cpu\" }}\n",
		"binary":      "\xff\xfe",
		"keys.yaml":   "from: debian\nfiles:\n  - {path: /a}\n  - {content: b}\n  - {path: /c, content: x, source: y}\n  - x\n  - {path: /d, content: [x]}\n  - {path: /e/, content: x, mode: rw}\n  - {path: '/{{ env \"os\" }}', content: x}\n  - {path: /f, content: x, owner: 'A B'}\n",
		"units.yaml":  "from: debian\nunits:\n  - {name: x, content: a}\n  - {content: a}\n  - {name: a.service, content: a, enabled: 'yes'}\n",
		"when.yaml":   "from: debian\nfiles:\n  - {path: /a, content: a, when: {kernl: cloud}}\n  - {path: /b, content: a, when: {hostname: x}}\n",
		"nolist.yaml": "from: debian\nfiles: {path: /a}\nunits: x\nrequires: [x]\n",
		"req.yaml":    "from: debian\nrequires:\n  env.hw.cpu: x\n  os: []\n",
	})
	for name, tt := range map[string]struct {
		item   string
		layers config.Layers
		want   []string
	}{
		"folded text":  {item: "secret.yaml", want: []string{`secret.yaml:5:14: unknown secret "api-kye" of item secret; did you mean "api-key"?`}},
		"source files": {item: "source.yaml", want: []string{`source.yaml:2:66: source: open `, `/binary:1:1: template: is no text`}},
		"files": {item: "keys.yaml", want: []string{
			"keys.yaml:3:5: needs either content or source", "keys.yaml:4:5: a file needs a path", "keys.yaml:5:5: needs either content or source",
			"keys.yaml:6:5: expected a mapping (key: value), got the string \"x\"", "keys.yaml:7:25: content: expected a string, got a list",
			`keys.yaml:8:12: path: "/e/" is no absolute path`, `keys.yaml:8:35: mode: expected octal digits such as 0644, got "rw"`,
			"keys.yaml:9:21: path: it has to be known before the machine is",
		}},
		"units":      {item: "units.yaml", want: []string{`units.yaml:3:12: "x" is no name of a systemd unit`, "units.yaml:4:5: a unit needs a name", "units.yaml:5:44: enabled: expected true or false, got the string"}},
		"conditions": {item: "when.yaml", layers: config.Layers{Options: []string{`hostname={{ env "os" }}`}}, want: []string{`when.yaml:3:5: list "file /a" depends on "kernl"`, `when.yaml:4:5: file /b depends on option "hostname", and that depends on the machine (-o)`}},
		"no lists":   {item: "nolist.yaml", want: []string{"nolist.yaml:2:8: expected a list, each element with path, content", "nolist.yaml:3:8: expected a list", "nolist.yaml:4:11: expected a mapping"}},
		"requires":   {item: "req.yaml", want: []string{"req.yaml:4:7: env.os: a requirement needs a value"}},
		"fact":       {layers: config.Layers{Options: []string{`hostname={{ env "hw.cpu" }}`}}, want: []string{"-o hostname:1:8: no fact hw.cpu"}},
		"option":     {layers: config.Layers{Inline: []string{`hostname: 'ab{{ option "hostnmae" }}'`}}, want: []string{`-n (inline):1:24: unknown option "hostnmae" of item debian; did you mean "hostname"?`}},
		"of another": {layers: config.Layers{Options: []string{`hostname={{ option "format" }}`}}, want: []string{`-o hostname:1:11: option "format" belongs to items of type provision`}},
		"itself":     {layers: config.Layers{Options: []string{`hostname={{ option "hostname" }}`}}, want: []string{`option "hostname" asks for itself: hostname -> hostname`}},
		"bad value":  {layers: config.Layers{Options: []string{`hostname={{ option "timezone" }}`, "timezone=Europe/Berlin"}}, want: []string{`-o hostname:1:1: expected a host name`}},
		"build":      {layers: config.Layers{Options: []string{`packages=x{{ env "os" }}`}}, want: []string{`-o packages:1:9: option "packages" is needed before the machine is known`}},
		"key":        {layers: config.Layers{Inline: []string{`sshkey: ['{{ env "os" }}']`}}, want: []string{`option "sshkey" is needed before the machine is known`}},
		"memory":     {layers: config.Layers{Options: []string{`memory={{ env "os" }}`}}, want: []string{`option "memory" is needed before the machine is known`}},
		"through another": {layers: config.Layers{Options: []string{`hostname={{ env "os" }}`, `suite={{ option "hostname" }}`}},
			want: []string{`-o suite:1:11: option "suite" is needed before the machine is known`}},
		"syntax":        {layers: config.Layers{Inline: []string{"{hostname: web1, timezone: '{{ env \"os\" '}"}}, want: []string{`-n (inline):1:29: option "timezone": action is not closed with }}`}},
		"no quotes":     {layers: config.Layers{Inline: []string{"keymap: de\nhostname: {{ option \"keymap\" }}"}}, want: []string{`-n (inline):2:12: could not find flow map content; a value that begins with a template stands in quotes: '{{ ... }}'`}},
		"n with secret": {layers: config.Layers{Inline: []string{"secrets: {a: {desc: x}}"}}, want: []string{`-n (inline):1:15: unknown key "desc"`}},
		"condition":     {layers: config.Layers{Inline: []string{"files: [{path: /a, content: x, owner: 'A B'}]"}}, want: []string{`-n (inline):1:40: owner: "A B" is neither the name of an account`}},
	} {
		t.Run(name, func(t *testing.T) {
			item := "debian"
			if tt.item != "" {
				item = filepath.Join(dir, tt.item)
			}
			tt.layers.Facts = fewFacts
			_, err := open(t).Load(item, tt.layers)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("missing %q in:\n%v", want, err)
				}
			}
			if lines := strings.Count(err.Error(), "\n") + 1; lines != len(tt.want) {
				t.Errorf("%d errors, want %d:\n%v", lines, len(tt.want), err)
			}
			var ce *config.Error
			if !errors.As(err, &ce) {
				t.Errorf("no *config.Error: %v", err)
			}
		})
	}
}

// Types cannot promise what no target could keep.
func TestOpenRefusesLate(t *testing.T) {
	for option, want := range map[string]string{
		"a: {type: int, default: 1, description: d, layer: install, late: true}":                       "can be late",
		"a: {type: string, default: a, description: d, layer: build, late: true}":                      "can be late",
		"a: {type: string, default: '{{ 1 }}', description: d, layer: build}":                          "its default is a template",
		"files: {type: string, default: a, description: d, layer: build}":                              "the name means something else in -n",
		"a: {type: list, of: {type: sshkey}, default: [], description: d, layer: install, late: true}": "can be late",
	} {
		_, err := config.Open(fstest.MapFS{"types/t.yaml": {Data: []byte("options: {" + option + "}")}, "items/i.yaml": {Data: []byte("types: [t]")}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", option, err, want)
		}
	}
}

func TestFits(t *testing.T) {
	dir := write(t, map[string]string{"web.yaml": webItem, "issue.txt": "one\n{{ env \"os\" }}\n"})
	c := load(t, filepath.Join(dir, "web.yaml"), config.Layers{Facts: fewFacts, Options: []string{`hostname={{ env "os" }}`, "username=anna"}})
	fine := template.Source{
		Option: func(string) (template.Value, error) { return template.Value{Text: "x"}, nil },
		Fact:   func(string) (template.Value, error) { return template.Value{Text: "x"}, nil },
	}
	if err := c.Fits(func(request.Requirement) error { return nil }, fine); err != nil {
		t.Error(err)
	}
	missing := errors.New("it is not there")
	broken := template.Source{
		Option: func(string) (template.Value, error) { return template.Value{}, missing },
		Fact:   func(string) (template.Value, error) { return template.Value{}, missing },
	}
	err := c.Fits(func(request.Requirement) error { return missing }, broken)
	for _, want := range []string{"web.yaml:3:3: it is not", "web.yaml:4:3: it is not", "-o hostname:1:1: it is not", "web.yaml:13:14: /home/anna/.netrc: it is not", "issue.txt:2:4: /etc/issue: it is not"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
}
