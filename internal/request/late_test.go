package request_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/request"
)

// templated is a request with all that may depend on the machine.
func templated() request.Request {
	r := valid()
	r.System.Hostname = `n-{{ env "hw.nic.0.hwaddr" }}`
	r.System.Users = []request.User{{Name: `{{ option "username" }}`, PasswordSecret: "password"}}
	r.System.Cmdline = []string{`a={{ env "os" }}`}
	r.System.Options = []request.Option{{Name: "username", Value: "anna"}, {Name: "hostname", Value: r.System.Hostname, Rule: &request.Rule{Hostname: true, Expects: "a host name"}}}
	r.System.Files = []request.File{{Path: "/etc/app", Content: `{{ secret "key" }}`, Mode: 0o600, Owner: "root"}}
	r.System.Units = []request.Unit{{Name: "a@.service", Content: `{{ if has "hw.tpm" }}{{ secret "pin" }}{{ end }}`}}
	r.System.Requires = []request.Requirement{{Fact: "os", OneOf: []string{"linux"}, None: true}}
	return r
}

func TestTemplatesRoundTrip(t *testing.T) {
	var buf bytes.Buffer
	if err := templated().Encode(&buf); err != nil {
		t.Fatal(err)
	}
	got, err := request.Decode(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(templated(), got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"key", "password", "pin"}, got.System.SecretNames()); diff != "" {
		t.Error(diff)
	}
	if s := got.System.Requires[0].String(); s != "env.os to be linux or null" {
		t.Errorf("got %q", s)
	}
	// What is a template is no value.
	if err := got.System.Validate(); err == nil || !strings.Contains(err.Error(), "system.hostname") || !strings.Contains(err.Error(), "system.cmdline") || !strings.Contains(err.Error(), "user") {
		t.Errorf("got %v", err)
	}
}

func TestValidateLate(t *testing.T) {
	for _, tt := range []struct {
		spoil func(*request.System)
		want  string
	}{
		{func(s *request.System) { s.Hostname = `{{ env }}` }, "hostname: 1:4: env takes one argument"},
		{func(s *request.System) { s.Hostname = `{{ option "none" }}` }, `hostname: 1:11: option "none" is not in the request`},
		{func(s *request.System) { s.Timezone = `{{ secret "key" }}` }, "time zone: 1:11: a secret can only be in files and units"},
		{func(s *request.System) { s.Options[1].Value = `{{ secret "key" }}` }, "option hostname: 1:11: a secret can only be"},
		{func(s *request.System) { s.Files[0].Path = "etc/app" }, "is no absolute path"},
		{func(s *request.System) { s.Files[0].Path = "/etc/../x" }, "is no absolute path"},
		{func(s *request.System) { s.Files[0].Mode = 0o10000 }, "more than permission bits"},
		{func(s *request.System) { s.Files[0].Owner = "a:b" }, "neither the name of an account nor a number"},
		{func(s *request.System) { s.Files[0].Group = "A" }, "neither the name of an account nor a number"},
		{func(s *request.System) { s.Files[0].Content = "{{" }, "file /etc/app: 1:3: unexpected end"},
		{func(s *request.System) { s.Files = append(s.Files, s.Files[0]) }, "is there twice"},
		{func(s *request.System) { s.Files[0].Path = s.Units[0].Path() }, "is there twice"},
		{func(s *request.System) { s.Units[0].Name = "../../x.service" }, "is no name of a systemd unit"},
		{func(s *request.System) { s.Units[0].Content = `{{ secret "a" | upper }}` }, "unit a@.service: 1:4: a secret cannot go through upper"},
		{func(s *request.System) { s.Requires[0] = request.Requirement{Fact: "os"} }, "must have a value"},
	} {
		r := templated()
		tt.spoil(&r.System)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

// What a target would not read is not written.
func TestEncodeRefusesWhatIsTooLarge(t *testing.T) {
	r := templated()
	r.System.Files[0].Content = strings.Repeat("x", 1<<20)
	var buf bytes.Buffer
	if err := r.Encode(&buf); err == nil || !strings.Contains(err.Error(), "the item's files are too large") || buf.Len() > 0 {
		t.Errorf("got %v, %d bytes", err, buf.Len())
	}
}

func TestRule(t *testing.T) {
	host := request.Rule{Hostname: true, Expects: "a host name"}
	word := request.Rule{Pattern: "[a-z]+|[0-9]", Expects: "a word", Optional: true}
	for _, tt := range []struct {
		rule request.Rule
		text string
		ok   bool
	}{
		{host, "web1.example", true}, {host, "-a", false}, {host, "a-", false}, {host, "a_b", false}, {host, "", false},
		{host, "a..b", false}, {host, strings.Repeat("a", 63), true}, {host, strings.Repeat("a", 64), false},
		{word, "abc", true}, {word, "", true}, {word, "a1", false}, {word, "a\n", false}, {word, "12", false},
		{request.Rule{}, "anything at all", true}, {request.Rule{}, "two\nlines", false}, {request.Rule{}, "", false},
		{request.Rule{Pattern: "("}, "(", false},
	} {
		if err := tt.rule.Check(tt.text); (err == nil) != tt.ok {
			t.Errorf("%+v %q: got %v", tt.rule, tt.text, err)
		}
	}
}
