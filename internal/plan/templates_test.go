package plan_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// templated is an item with everything that depends on the machine.
func templated(t *testing.T) request.Request {
	t.Helper()
	req := debian(t)
	name := `node-{{ env "hw.nic.0.hwaddr" | replace ":" "" }}`
	req.System.Hostname = name
	req.System.Cmdline = []string{`console={{ if eq (env "hw.arch") "amd64" }}ttyS0{{ else }}ttyAMA0{{ end }}`, `x={{ "{{" }}`}
	req.System.Requires = []request.Requirement{{Fact: "hw.firmware", OneOf: []string{"uefi"}}, {Fact: "hw.tpm", None: true}}
	req.System.Options = []request.Option{
		{Name: "hostname", Value: name, Rule: &request.Rule{Hostname: true, Expects: "a host name"}},
		{Name: "packages", Value: "nginx,vim", List: true, Items: []string{"nginx", "vim"}},
	}
	req.System.Files = []request.File{{Path: "/etc/app/app.conf", Mode: 0o640, Owner: "root", Group: "anna", Content: `name={{ option "hostname" }}
{{- range env "hw.nic" }}
nic={{ .name }} {{ .driver | upper }}
{{- end }}
{{- range option "packages" }}
package={{ . }}
{{- end }}
{{- if has "hw.tpm" }}
tpm={{ secret "tpm-pin" }}
{{- end }}
password={{ secret "app-password" | json }}
`}}
	req.System.Units = []request.Unit{
		{Name: "app.service", Content: "[Service]\nExecStart=/usr/bin/app --host {{ option \"hostname\" }}\n", Enabled: true},
		{Name: "key.service", Content: "[Service]\nEnvironment=KEY={{ secret \"app-password\" }}\n"},
	}
	return req
}

func TestGoldenTemplates(t *testing.T) {
	p, err := plan.New(templated(t), machine("uefi", 512), []string{"password", "app-password"})
	if err != nil {
		t.Fatal(err)
	}
	var inject []plan.Step
	for _, s := range p.Steps {
		switch s.Action.(type) {
		case plan.PutFile, plan.EnableUnit, plan.CheckSecrets:
			inject = append(inject, s)
		}
	}
	got, err := json.MarshalIndent(inject, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "templates.json", append(got, '\n'))
	if p.Result.Hostname != "node-525400123456" {
		t.Errorf("host name %q", p.Result.Hostname)
	}
	for path, want := range map[string]string{"/etc/hostname": "node-525400123456\n", "/etc/kernel/cmdline": "ro console=ttyS0 x={{"} {
		if got := written(p, path); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func written(p plan.Plan, path string) string {
	for _, s := range p.Steps {
		if f, ok := s.Action.(plan.WriteFile); ok && f.Path == path {
			return f.Content
		}
	}
	return ""
}

func TestTemplatesRefuse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*request.Request, *envscan.Facts)
		want  string
	}{
		{"requirement", func(_ *request.Request, f *envscan.Facts) { f.HW.Firmware.Type = "bios" }, "it requires env.hw.firmware to be uefi: this machine has bios"},
		{"requirement of nothing", func(_ *request.Request, f *envscan.Facts) { f.HW.TPM = &envscan.TPM{Version: "2.0"} }, "it requires env.hw.tpm to be null: "},
		{"requirement that is null", func(r *request.Request, _ *envscan.Facts) {
			r.System.Requires = []request.Requirement{{Fact: "hw.tpm.version", OneOf: []string{"2.0", "1.2"}}}
		}, "it requires env.hw.tpm.version to be 2.0 or 1.2: env.hw.tpm.version: env.hw.tpm is null"},
		{"requirement of an object", func(r *request.Request, f *envscan.Facts) {
			f.HW.TPM = &envscan.TPM{Version: "2.0"}
			r.System.Requires = []request.Requirement{{Fact: "hw.tpm", OneOf: []string{"2.0"}}}
		}, "it requires env.hw.tpm to be 2.0: it is an object"},
		{"no element of a list", func(r *request.Request, f *envscan.Facts) {
			f.HW.CPU.Flags = []string{"fpu", "sse"}
			r.System.Requires = []request.Requirement{{Fact: "hw.cpu.flags", OneOf: []string{"avx2"}}}
		}, "it requires env.hw.cpu.flags to be avx2: this machine has fpu, sse"},
		{"null fact", func(_ *request.Request, f *envscan.Facts) { f.HW.NIC[0].HWAddr = "" }, `option "hostname", which is node-{{ env "hw.nic.0.hwaddr" | replace ":" "" }}: 1:9: env.hw.nic.0.hwaddr: it is null`},
		{"gap", func(_ *request.Request, f *envscan.Facts) {
			f.HW.NIC[0].Driver = ""
			f.Scan.Gaps = []envscan.Gap{{Fact: "hw.nic[name=eth0].driver", Path: "/sys/class/net/eth0/device/driver", Why: "permission denied", Need: "root"}}
		}, "file /etc/app/app.conf: 3:20: env.hw.nic.0.driver: it could not be read: hw.nic[name=eth0].driver: /sys/class/net/eth0/device/driver: permission denied (needs root)"},
		{"rule", func(_ *request.Request, f *envscan.Facts) { f.HW.NIC[0].HWAddr = "52_54" }, `: expected a host name, got "node-52_54"`},
		{"the setting's own rule", func(r *request.Request, f *envscan.Facts) {
			r.System.Options[0].Rule = &request.Rule{Expects: "anything"}
			f.HW.NIC[0].HWAddr = "AB"
		}, `system.hostname "node-AB" must be a host name`},
		{"kernel parameter", func(r *request.Request, f *envscan.Facts) {
			r.System.Cmdline = []string{`a={{ env "hw.dmi.product" }}`}
			f.HW.DMI = &envscan.DMI{Product: "two words"}
		}, `system.cmdline "a=two words" must be one kernel parameter`},
		{"secret", func(r *request.Request, _ *envscan.Facts) { r.System.Units = r.System.Units[1:] }, `secret "app-password" is missing`},
		{"option that asks for itself", func(r *request.Request, _ *envscan.Facts) {
			r.System.Options[0].Value = `{{ option "hostname" }}`
		}, `option "hostname" asks for itself`},
		{"list as a value", func(r *request.Request, _ *envscan.Facts) { r.System.Timezone = `{{ env "hw.nic" }}` }, "time zone: 1:4: env.hw.nic is a list"},
		{"secret in a setting", func(r *request.Request, _ *envscan.Facts) { r.System.Hostname = `{{ secret "password" }}` }, "a secret can only be in files and units"},
		{"unknown fact", func(r *request.Request, _ *envscan.Facts) { r.System.Timezone = `{{ env "hw.nci.0" }}` }, `did you mean "nic"?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, facts := templated(t), machine("uefi", 512)
			tt.spoil(&req, &facts)
			secrets := []string{"password", "app-password"}
			if tt.name == "secret" {
				secrets = secrets[:1]
			}
			_, err := plan.New(req, facts, secrets)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v\nwant %q, once", err, tt.want)
			}
		})
	}
}

func TestUnmet(t *testing.T) {
	facts := machine("uefi", 512)
	facts.OS.Type = "linux"
	facts.HW.CPU.Flags = []string{"fpu", "avx2"}
	requires := []request.Requirement{
		{Fact: "os", OneOf: []string{"linux"}},
		{Fact: "hw.firmware", OneOf: []string{"bios", "uefi"}},
		{Fact: "hw.nic.0.wireless", OneOf: []string{"false"}},
		{Fact: "hw.memory.total", OneOf: []string{"268435456"}},
		{Fact: "hw.cpu.flags", OneOf: []string{"avx2"}},
		{Fact: "hw.tpm", OneOf: []string{"2.0"}, None: true},
	}
	if err := plan.Unmet(requires, facts); err != nil {
		t.Error(err)
	}
	facts.OS.Type, facts.HW.CPU.Flags = "freebsd", nil
	err := plan.Unmet(requires, facts)
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v", err)
	}
}

// Of a machine that is not there yet, what is not known is left to it.
func TestPrediction(t *testing.T) {
	facts := machine("uefi", 512)
	facts.Scan.Version = plan.Prediction
	req := templated(t)
	req.System.Requires = append(req.System.Requires, request.Requirement{Fact: "hw.cpu.vendor", OneOf: []string{"GenuineIntel"}})
	req.System.Files[0].Content = `{{ env "hw.cpu.model" }}{{ secret "app-password" }}`
	req.System.Timezone = `{{ env "os.timezone" }}`
	p, err := plan.New(req, facts, []string{"password", "app-password"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if f, ok := s.Action.(plan.PutFile); ok && f.Path == "/etc/app/app.conf" {
			if len(f.Content) != 2 || f.Content[0].Text != "(1:4: env.hw.cpu.model is known only on the machine itself)" || f.Content[1].Secret != "app-password" {
				t.Errorf("content: %+v", f.Content)
			}
		}
	}
	facts.HW.Firmware.Type = "bios"
	if _, err := plan.New(req, facts, []string{"password", "app-password"}); err == nil || !strings.Contains(err.Error(), "it requires env.hw.firmware to be uefi") {
		t.Errorf("what is known was not compared: %v", err)
	}
}
