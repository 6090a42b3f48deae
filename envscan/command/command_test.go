package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/envscan"
)

// machine is the least that can be scanned.
func machine(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range map[string]string{
		"proc/self/mountinfo":           "",
		"proc/meminfo":                  "MemTotal: 1024 kB\n",
		"proc/sys/kernel/hostname":      "box\n",
		"proc/sys/kernel/arch":          "aarch64\n",
		"sys/devices/system/cpu/x":      "",
		"sys/class/dmi/id/product_name": "yes: no\n",
	} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRun(t *testing.T) {
	root := machine(t)
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"get", "--root", root, "env.os.hostname"}, "box\n"},
		{[]string{"get", "os.hostname", "--root", root}, "box\n"},
		{[]string{"get", "--root", root, "hw.memory.total"}, "1048576\n"},
		{[]string{"get", "--root", root, "os.ram"}, "false\n"},
		{[]string{"get", "--root", root, "hw.disk"}, "[]\n"},
		{[]string{"get", "--root", root, "--format=yaml", "hw.tpm"}, "null\n"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		if err := Run(t.Context(), tt.args, &out); err != nil || out.String() != tt.want {
			t.Errorf("%q: %q %v", tt.args, out.String(), err)
		}
	}
}

// TestYAML: the same facts in either format.
func TestYAML(t *testing.T) {
	root := machine(t)
	var asJSON, asYAML bytes.Buffer
	if err := Run(t.Context(), []string{"dump", "--root", root}, &asJSON); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), []string{"dump", "--root", root, "--format", "yaml"}, &asYAML); err != nil {
		t.Fatal(err)
	}
	back, err := yaml.YAMLToJSON(asYAML.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var a, b envscan.Facts
	if err := json.Unmarshal(asJSON.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(back, &b); err != nil {
		t.Fatal(err)
	}
	if a.HW.DMI == nil || a.HW.DMI.Product != "yes: no" || b.HW.DMI == nil || !reflect.DeepEqual(a.HW.DMI, b.HW.DMI) || a.HW.Arch != "arm64" || b.HW.Arch != "arm64" {
		t.Errorf("%s\n%s", asJSON.String(), asYAML.String())
	}
}

func TestRunErrors(t *testing.T) {
	tests := []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "expected dump or get PATH"},
		{[]string{"dmp"}, 2, `unknown command "dmp"`},
		{[]string{"get"}, 2, "get takes one PATH"},
		{[]string{"get", "a", "b"}, 2, "get takes one PATH"},
		{[]string{"dump", "x"}, 2, `dump takes no argument, got "x"`},
		{[]string{"dump", "--format", "xml"}, 2, `expected json or yaml, got "xml"`},
		{[]string{"dump", "--fromat", "json"}, 2, "flag provided but not defined"},
		{[]string{"dump", "--timeout", "-1s"}, 2, "--timeout"},
		{[]string{"dump", "--root", t.TempDir()}, 1, "scan machine: /sys is not there"},
		{[]string{"get", "--root", machine(t), "hw.nik"}, 1, `env.hw has no "nik"`},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		err := Run(t.Context(), tt.args, &out)
		if err == nil || ExitCode(err) != tt.code || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
			t.Errorf("%q: code %d, %v, printed %q", tt.args, ExitCode(err), err, out.String())
		}
	}
	if ExitCode(nil) != 0 || ExitCode(errors.New("x")) != 1 {
		t.Error("exit codes")
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"dump", "--help"}, {"get", "-h"}} {
		var out bytes.Buffer
		if err := Run(t.Context(), args, &out); err != nil || !strings.Contains(out.String(), "Example:") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
