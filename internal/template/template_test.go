package template_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/template"
)

// facts are a machine with two network cards and no TPM.
var facts = map[string]template.Value{
	"hw.firmware":           {Text: "uefi"},
	"hw.cpu.count":          {Text: "4"},
	"hw.nic":                {List: true, Len: 2},
	"hw.nic.0.name":         {Text: "eth0"},
	"hw.nic.1.name":         {Text: "wlan0"},
	"hw.nic.0.wireless":     {Text: "false"},
	"hw.nic.1.wireless":     {Text: "true"},
	"hw.nic.0.hwaddr":       {Text: "52:54:00:12:34:56"},
	"hw.nic.0.module":       {List: true, Len: 1},
	"hw.nic.1.module":       {List: true, Len: 0},
	"hw.nic.0.module.0":     {Text: "virtio_net"},
	"hw.battery":            {List: true, Len: 0},
	"hw.dmi":                {Object: true},
	"hw.firmware.bootOrder": {List: true, Len: 1},
}

var source = template.Source{
	Fact: func(path string) (template.Value, error) {
		if v, ok := facts[path]; ok {
			return v, nil
		}
		if path == "hw.tpm" {
			return template.Value{}, fmt.Errorf("env.hw.tpm is null: %w", template.ErrNone)
		}
		return template.Value{}, fmt.Errorf("env.%s was not probed", path)
	},
	Option: func(name string) (template.Value, error) {
		switch name {
		case "hostname":
			return template.Value{Text: "web1"}, nil
		case "fast":
			return template.Value{Text: "true"}, nil
		case "packages":
			return template.Value{Text: "vim,tmux", List: true, Len: 2, Items: []string{"vim", "tmux"}}, nil
		}
		return template.Value{}, fmt.Errorf("no option %s", name)
	},
}

// reveal shows where each secret went.
func reveal(name string) (string, error) {
	switch name {
	case "psk":
		return `it's "secret"` + "\nand long", nil
	case "bytes":
		return "\xff\x00", nil
	}
	return "", errors.New("was not delivered")
}

func TestRender(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"plain { text } }}":                     "plain { text } }}",
		`host {{ option "hostname" }}.`:         "host web1.",
		`{{env "hw.nic.0.name"}}`:               "eth0",
		`{{ env "env.hw.nic.0.name" | upper }}`: "ETH0",
		`node-{{ env "hw.nic.0.hwaddr" | replace ":" "" }}`:                                                                         "node-525400123456",
		`{{ "{{" }} {{ 7 }} {{ true }} {{ "a\tb" }}` + "{{ `raw\\n` }}":                                                             "{{ 7 true a\tbraw\\n",
		"a {{- /* no */ -}} b {{/* c */}}!":                                                                                         "ab !",
		"a\n  {{- if true }}\n  yes\n  {{- end }}\nb":                                                                               "a\n  yes\nb",
		"{{ range option \"packages\" -}}\n {{ . -}} \n{{ else -}} x {{ end -}} \n.":                                                "vimtmux.",
		"{{ if true -}} a {{- else -}} b {{- end -}}\n{{ 3 -}} ":                                                                    "a3",
		`{{ if eq (env "hw.firmware") "uefi" }}U{{ else }}B{{ end }}`:                                                               "U",
		`{{ if ne (env "hw.firmware") "uefi" }}U{{ else if option "fast" }}F{{ else }}B{{ end }}`:                                   "F",
		`{{ if eq (option "hostname") "a" "web1" }}y{{ end }}`:                                                                      "y",
		`{{ if eq (env "hw.cpu.count") 4 }}four{{ end }}`:                                                                           "four",
		`{{ if has "hw.tpm" }}T{{ else }}no TPM{{ end }}`:                                                                           "no TPM",
		`{{ if has "hw.dmi" }}DMI{{ end }}`:                                                                                         "DMI",
		`{{ if not (has "hw.tpm") }}no TPM{{ end }}`:                                                                                "no TPM",
		`{{ if and (has "hw.nic") (or false (option "fast")) }}y{{ end }}`:                                                          "y",
		`{{ if and false (env "nowhere") }}y{{ end }}`:                                                                              "",
		`{{ range env "hw.nic" }}{{ .name }}{{ if .wireless }}*{{ end }}{{ range .module }}({{ . }}){{ else }}-{{ end }} {{ end }}`: "eth0(virtio_net) wlan0*- ",
		`{{ range env "hw.battery" }}b{{ else }}mains{{ end }}`:                                                                     "mains",
		`{{ range option "packages" }}[{{ . | upper }}]{{ end }}`:                                                                   "[VIM][TMUX]",
		`{{ option "packages" }}`:                                                                                                   "vim,tmux",
		`{{ range env "hw.nic" }}{{ if has .hwaddr }}mac{{ end }}{{ end }}`:                                                         "", // of the second it is not known: see below
		`{{ "it's" | shell }} {{ json "a<\"b" }}`:                                                                                   `'it'\''s' "a<\"b"`,
		"key:\n  {{ \"a\\nb\" | indent 2 }}":                                                                                        "key:\n  a\n  b",
		`psk={{ secret "psk" | json }};`:                                                                                            `psk="it's \"secret\"\nand long";`,
		`{{ json (secret "psk") }}`:                                                                                                 `"it's \"secret\"\nand long"`,
		`{{ secret "psk" | shell | indent 1 }}`:                                                                                     `'it'\''s "secret"` + "\n and long'",
		`{{ secret "bytes" }}`:                                                                                                      "\xff\x00",
	} {
		tmpl, err := template.Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		segments, err := tmpl.Render(source)
		if strings.Contains(in, "has .hwaddr") {
			if err == nil || !strings.Contains(err.Error(), "1:31: env.hw.nic.1.hwaddr was not probed") {
				t.Errorf("%s: got %v", in, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got, err := template.Fill(segments, reveal)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"a\n  {{ optoin \"x\" }}": "2:6: unknown function \"optoin\"; did you mean \"option\"?",
		"ü {{ env }}":             "1:6: env takes one argument, got 0",
		"{{ env \"a\"":            "1:1: action is not closed",
		"{{ /* x }}":              "1:1: comment is not closed",
		"{{ env \"a }}":           "string is not closed",
		"{{ env `a }}":            "string is not closed",
		`{{ env "\q" }}`:          "an escape in it is wrong",
		`{{ env (option "a") }}`:  `1:9: env takes a constant: env "NAME"`,
		`{{ env "" }}`:            "env takes a constant",
		"{{ if true }}":           "1:4: if without an end",
		"x{{ end }}":              "1:5: end without an if or a range",
		"{{ else }}":              "else without an if",
		"{{ if true }}{{ else }}{{ else }}{{ end }}":    "1:27: a second else, expected end",
		`{{ if "yes" }}{{ end }}`:                       "a condition is true or false",
		`{{ if secret "a" }}{{ end }}`:                  "1:7: a secret cannot be a condition",
		`{{ if eq (secret "a") "b" }}{{ end }}`:         "1:11: a secret cannot go through eq",
		`{{ secret "a" | upper }}`:                      "a secret cannot go through upper",
		`{{ indent (secret "a") "b" }}`:                 "1:12: a secret cannot go through indent",
		`{{ indent "x" "b" }}`:                          `"x" is no number of spaces`,
		`{{ indent (env "a") "b" }}`:                    "constant number of spaces",
		`{{ range secret "a" }}{{ end }}`:               "range goes through a list",
		`{{ range env "a" | lower }}{{ end }}`:          "range goes through a list",
		`{{ range env }}{{ end }}`:                      "env takes one argument",
		`{{ .name }}`:                                   "there is none around",
		`{{ range option "a" }}{{ .b }}{{ end }}`:       "the elements of an option have no fields",
		`{{ range env "a" }}{{ else }}{{ . }}{{ end }}`: "there is none around",
		`{{ with env "a" }}{{ end }}`:                   "1:4: with is not supported: a template has if, else, range, end, and the functions and, env,",
		`{{ $x := 1 }}`:                                 `1:4: unexpected "$x := 1 }}", expected a value`,
		`{{ env "a" "b" }}`:                             "env takes one argument, got 2",
		`{{ replace "a" }}`:                             "replace takes 3 arguments, got 1",
		`{{ eq "a" }}`:                                  "eq takes at least 2 arguments",
		`{{ eq env "a" }}`:                              "env as an argument stands in parentheses: (env ...)",
		`{{ env "a" | }}`:                               "expected a function after |",
		`{{ env "a" | true }}`:                          `unknown function "true"`,
		`{{ (env "a" }}`:                                "1:4: ( is not closed",
		`{{ env "a"-}}`:                                 `unexpected "-}}", expected }}`,
		`{{ env "a" ] }}`:                               `unexpected "] }}", expected }}`,
		`{{ }}`:                                         "expected a value",
		`{{`:                                            "expected a value",
		`{{ .a. }}`:                                     "expected a field",
		"\xff":                                          "is no text",
		strings.Repeat("{{ if true }}", 40):             "nested deeper",
		"{{ " + strings.Repeat("(", 99):                 "nested deeper",
	} {
		_, err := template.Parse(in)
		var te *template.Error
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &te) || te.Line < 1 || te.Column < 1 {
			t.Errorf("%s: got %v, want %s", in, err, want)
		}
	}
	_, err := template.Parse("{{ foo }}\n{{ bar 1 }}\n{{ if }}")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all mistakes at once: %v", err)
	}
}

func TestRenderRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`{{ env "hw.tpm" }}`:                        "1:4: env.hw.tpm is null",
		`{{ env "hw.none" }}{{ option "none" }}`:    "1:4: env.hw.none was not probed\n1:23: no option none",
		`{{ if has "hw.none" }}{{ end }}`:           "1:7: env.hw.none was not probed",
		`{{ if env "hw.firmware" }}{{ end }}`:       `1:7: a condition is true or false, this is "uefi"`,
		`{{ env "hw.dmi" }}`:                        "1:4: env.hw.dmi is an object",
		`{{ env "hw.nic" }}`:                        "1:4: env.hw.nic is a list",
		`{{ range env "hw.firmware" }}{{ end }}`:    "1:10: env.hw.firmware is no list",
		`{{ range option "hostname" }}{{ end }}`:    `1:10: option "hostname" is no list`,
		`{{ if not (env "hw.none") }}{{ end }}`:     "1:12: env.hw.none was not probed",
		`{{ upper (env "hw.none") }}`:               "1:11: env.hw.none was not probed",
		`{{ if eq "a" (env "hw.none") }}a{{ end }}`: "1:15: env.hw.none was not probed",
	} {
		tmpl, err := template.Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got, err := tmpl.Render(source); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %s", in, got, err, want)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	items := make([]string, 1000)
	src := template.Source{Option: func(string) (template.Value, error) {
		return template.Value{List: true, Len: len(items), Items: items}, nil
	}}
	for text, want := range map[string]string{"0123456789": "becomes larger than", "": "takes more than"} {
		tmpl, err := template.Parse(strings.Repeat(`{{ range option "a" }}`, 6) + text + strings.Repeat("{{ end }}", 6))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tmpl.Render(src); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestReferences(t *testing.T) {
	tmpl, err := template.Parse(`{{ secret "a" }}
{{ if has "hw.tpm" }}{{ secret "b" }}{{ end }}{{ range env "env.hw.nic" }}{{ .name }}{{ range .module }}{{ . }}{{ end }}{{ end }}{{ range option "packages" }}{{ . }}{{ end }}`)
	if err != nil {
		t.Fatal(err)
	}
	want := []template.Reference{
		{Kind: "secret", Name: "a", Line: 1, Column: 11},
		{Kind: "env", Name: "hw.tpm", Line: 2, Column: 11},
		{Kind: "secret", Name: "b", Line: 2, Column: 32, Conditional: true},
		{Kind: "env", Name: "hw.nic", Line: 2, Column: 60, List: true},
		{Kind: "env", Name: "hw.nic.0.name", Line: 2, Column: 78, Conditional: true},
		{Kind: "env", Name: "hw.nic.0.module", Line: 2, Column: 95, Conditional: true, List: true},
		{Kind: "env", Name: "hw.nic.0.module.0", Line: 2, Column: 108, Conditional: true},
		{Kind: "option", Name: "packages", Line: 2, Column: 146, List: true},
	}
	if diff := cmp.Diff(want, tmpl.References()); diff != "" {
		t.Error(diff)
	}
	if !tmpl.Asks(template.Secret) || tmpl.String() == "" {
		t.Error("Asks or String is wrong")
	}
}

// What is rendered names secrets and has none.
func TestSegments(t *testing.T) {
	tmpl, err := template.Parse(`a{{ option "hostname" }} {{ secret "psk" | indent 2 }}b`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Render(source)
	if err != nil {
		t.Fatal(err)
	}
	want := []template.Segment{{Text: "aweb1 "}, {Secret: "psk", Filters: []template.Filter{{Name: "indent", Args: []string{"2"}}}}, {Text: "b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if names := template.Secrets(got); len(names) != 1 || names[0] != "psk" {
		t.Errorf("secrets: %q", names)
	}
	if _, err := tmpl.Text(source); err == nil {
		t.Error("a secret became text")
	}
}

// A plan could be altered on its way: what is not a filter of secrets is
// refused, and errors do not repeat a secret.
func TestFillRefuses(t *testing.T) {
	for want, s := range map[string]template.Segment{
		`secret "none": was not delivered`:                                {Secret: "none"},
		`secret "psk": "upper" is no function that a secret goes through`: {Secret: "psk", Filters: []template.Filter{{Name: "upper"}}},
		`secret "psk": "indent" is no function`:                           {Secret: "psk", Filters: []template.Filter{{Name: "indent"}}},
		`secret "bytes": json: it is no UTF-8`:                            {Secret: "bytes", Filters: []template.Filter{{Name: "json"}}},
		`secret "bytes": shell: it has a NUL`:                             {Secret: "bytes", Filters: []template.Filter{{Name: "shell"}}},
	} {
		out, err := template.Fill([]template.Segment{s}, reveal)
		if err == nil || !strings.HasPrefix(err.Error(), want) || out != nil || strings.Contains(err.Error(), "long") {
			t.Errorf("got %q, %v, want %s", out, err, want)
		}
	}
	if _, err := template.Fill([]template.Segment{{Secret: "x"}}, func(string) (string, error) { return "", nil }); err == nil {
		t.Error("an empty secret was written")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{{ if eq (env "hw.firmware") "uefi" }}U{{ else if has "hw.tpm" }}{{ else }}B{{ end }}`,
		`{{- range env "hw.nic" -}} {{ .name | upper | indent 3 }} {{ else }} {{ end }}`,
		`{{ secret "psk" | json }}{{/* c */}}{{ "{{" }}`, "{{`", `{{ range . }}`, `{{if}}{{end}}`, `{{ range env }}`, `{{x|x}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl, err := template.Parse(text)
		if err == nil {
			if segments, err := tmpl.Render(source); err == nil {
				_, _ = template.Fill(segments, reveal)
			}
			for _, r := range tmpl.References() {
				if r.Name == "" || r.Line < 1 || r.Column < 1 {
					t.Errorf("reference %+v", r)
				}
			}
		}
		if tmpl, err = template.Parse(template.Escape(text)); err != nil {
			if strings.Contains(err.Error(), "is no text") {
				return
			}
			t.Fatalf("escaped: %v", err)
		}
		if got, err := tmpl.Text(source); err != nil || got != text {
			t.Errorf("escaped and rendered: %q, %v", got, err)
		}
	})
}
