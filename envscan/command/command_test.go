package command

import (
	"bytes"
	"encoding/json"
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

// runs runs vic-env.
func runs(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(t.Context(), args, Streams{strings.NewReader(stdin), &out, &err, []string{os.Args[0]}})
	return code, out.String(), err.String()
}

func TestGet(t *testing.T) {
	root := machine(t)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"get", "--root", root, "env.os.hostname"}, 0, "box\n"},
		{[]string{"get", "os.hostname", "--root", root}, 0, "box\n"},
		{[]string{"get", "--root", root, "hw.memory.total"}, 0, "1048576\n"},
		{[]string{"get", "--root", root, "os.ram"}, 0, "false\n"},
		{[]string{"get", "--root", root, "hw.disk"}, 0, "[]\n"},
		{[]string{"get", "--root", root, "--format=yaml", "os.vm"}, 0, "null\n"},
		{[]string{"get", "--root", root, "--format=flat", "hw.disk"}, 0, "hw.disk=[]\n"},
		{[]string{"get", "--root", root, "hw.disk.0.serial"}, 1, "env.hw.disk is a list of 0, counted from 0: it has no 0"},
		{[]string{"get", "--root", root, "hw.nik"}, 2, `env.hw has no "nik"; did you mean "nic"?` + "\nhint: `vic-env schema`"},
		{[]string{"match", "--root", root, "hw.memory.total>=1M", "os=linux"}, 0, "1048576\n{"},
		{[]string{"match", "--root", root, "-q", "os=linux"}, 0, ""},
		{[]string{"match", "--root", root, "os.type=plan9"}, 1, ""},
		{[]string{"match", "--root", root, "hw.cpu.virtualization.works=true"}, 1, "nothing matches hw.cpu.virtualization.works, but not everything could be read: hw.cpu.virtualization.works: /dev/kvm: "},
		{[]string{"match", "--root", root, "os=linux", "hw.disk[size>1G]"}, 1, ""},
		{[]string{"match", "--root", root, "hw.disk[sise>1G]"}, 2, `env.hw.disk has no "sise"; did you mean "size"?`},
		{[]string{"match", "--root", root, "hw.disk[size"}, 2, "expected a comparison"},
	} {
		code, out, err := runs(t, "", tt.args...)
		if code != tt.code || code == 0 && !strings.HasPrefix(out, tt.want) || code != 0 && !strings.Contains(err, tt.want) || code == 1 && out != "" {
			t.Errorf("%q: %d %q %q", tt.args, code, out, err)
		}
	}
}

// TestFormats: the same facts in every format.
func TestFormats(t *testing.T) {
	root := machine(t)
	_, asJSON, _ := runs(t, "", "dump", "--root", root)
	_, asYAML, _ := runs(t, "", "dump", "--root", root, "--format", "yaml")
	_, asFlat, _ := runs(t, "", "dump", "--root", root, "--format", "flat")
	back, err := yaml.YAMLToJSON([]byte(asYAML))
	if err != nil {
		t.Fatal(err)
	}
	var a, b envscan.Facts
	if err := json.Unmarshal([]byte(asJSON), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(back, &b); err != nil {
		t.Fatal(err)
	}
	a.State, b.State = envscan.State{}, envscan.State{}
	if a.HW.DMI == nil || a.HW.DMI.Product != "yes: no" || a.HW.Arch != "arm64" || !reflect.DeepEqual(a, b) {
		t.Errorf("%s\n%s", asJSON, asYAML)
	}
	for _, line := range []string{"schema=\"vic.env/1\"\n", "hw.dmi.product=\"yes: no\"\n", "hw.memory.total=1048576\n", "hw.disk=[]\n", "os.vm=null\n"} {
		if !strings.Contains(asFlat, line) {
			t.Errorf("no %q in\n%s", line, asFlat)
		}
	}
	for line := range strings.Lines(asFlat) {
		path, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if err := envscan.KnownPath(path); err != nil || !json.Valid([]byte(value)) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestOutput(t *testing.T) {
	root, file := machine(t), filepath.Join(t.TempDir(), "facts.json")
	if err := os.WriteFile(file, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, out, err := runs(t, "", "dump", "--root", root, "--output", file); code != 0 || out != "" {
		t.Fatal(code, out, err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if code, out, err := runs(t, "", "diff", file, "live", "--root", root); code != 0 || out != "" {
		t.Error(code, out, err)
	}
	names, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(names) != 1 {
		t.Error(names, err)
	}
	if code, _, text := runs(t, "", "dump", "--root", root, "--output", file+"/x"); code != 4 || !strings.Contains(text, "write "+file+"/x: ") {
		t.Error(code, text)
	}
}

func TestRedactFlags(t *testing.T) {
	root, key := machine(t), filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(args ...string) string {
		code, out, text := runs(t, "", append([]string{"dump", "--root", root, "--format", "flat"}, args...)...)
		if code != 0 {
			t.Fatal(code, text)
		}
		_, after, _ := strings.Cut(out, "os.hostname=")
		value, _, _ := strings.Cut(after, "\n")
		return value
	}
	a, b, c := host("--redact", "hash", "--key", key), host("--redact=hash", "--key="+key), host("--redact=hash")
	if host() != `"box"` || a != b || a == c || a == `"box"` || len(a) != 15 || host("--redact", "drop") != "" {
		t.Error(a, b, c)
	}
}

func TestDiff(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	a := write("a", `{"schema":"vic.env/1","hw":{"disk":[{"name":"sda","serial":"A","size":1},{"name":"sdb","serial":"B"}]},"state":{"uptime":1}}`)
	const b = `{"schema":"vic.env/1","hw":{"disk":[{"name":"sda","serial":"B"},{"name":"sdb","serial":"A","size":2}]},"state":{"uptime":2}}`
	code, out, _ := runs(t, b, "diff", a, "-")
	want := "hw.disk[serial=A].name: \"sda\" -> \"sdb\"\nhw.disk[serial=A].size: 1 -> 2\nhw.disk[serial=B].name: \"sdb\" -> \"sda\"\n"
	if code != 1 || out != want {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := runs(t, b, "diff", "--state", "-", a); code != 1 || !strings.Contains(out, "state.uptime: 2 -> 1\n") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := runs(t, "", "diff", a, a); code != 0 || out != "" {
		t.Errorf("%d %s", code, out)
	}
	code, out, _ = runs(t, strings.Replace(b, `,"size":2`, "", 1), "diff", a, "-", "--format", "json")
	if code != 1 || !strings.Contains(out, `"path": "hw.disk[serial=A].size",`+"\n    \"old\": 1\n  }") {
		t.Errorf("%d %s", code, out)
	}
}

func TestMistakes(t *testing.T) {
	newer := filepath.Join(t.TempDir(), "newer.json")
	if err := os.WriteFile(newer, []byte(`{"schema":"vic.env/2"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "expected a verb"},
		{[]string{"dmp"}, 2, `unknown verb "dmp"; did you mean "dump"?`},
		{[]string{"get"}, 2, "vic-env get needs PATH\nhint: usage: vic-env get PATH"},
		{[]string{"get", "a", "b"}, 2, `takes no argument "b"`},
		{[]string{"dump", "x"}, 2, `takes no argument "x"`},
		{[]string{"diff", "x"}, 2, "vic-env diff needs B"},
		{[]string{"diff", "-", "-"}, 2, "only one"},
		{[]string{"diff", "/no/such/file", "live"}, 3, "read facts: open /no/such/file"},
		{[]string{"diff", newer, "live"}, 3, "its schema vic.env/2 is newer than vic.env/1"},
		{[]string{"match"}, 2, "needs EXPR"},
		{[]string{"dump", "--format", "xml"}, 2, `--format "xml" is none of json, yaml, flat`},
		{[]string{"dump", "--fromat", "json"}, 2, `unknown flag --fromat; did you mean "--format"?`},
		{[]string{"dump", "--timeout", "-1s"}, 2, "--timeout -1s is no time to wait"},
		{[]string{"dump", "--timeout", "soon"}, 2, "invalid value"},
		{[]string{"dump", "--redact", "all"}, 2, `--redact "all" is none of`},
		{[]string{"dump", "--redact", "drop", "--key", "x"}, 2, "--key is for --redact hash only"},
		{[]string{"dump", "--redact", "hash", "--key", "/no/such/key"}, 2, "read --key"},
		{[]string{"dump", "--redact", "hash", "--key", newer, "--root", t.TempDir()}, 4, "/sys is not there"},
		{[]string{"dump", "--redact", "hash", "--key", "/dev/null"}, 2, "a key of 0 bytes can be guessed"},
		{[]string{"dump", "--root", t.TempDir()}, 4, "scan machine: /sys is not there\nhint: --root"},
	} {
		code, out, err := runs(t, "", tt.args...)
		if code != tt.code || !strings.Contains(err, tt.want) || out != "" {
			t.Errorf("%q: code %d, %q, printed %q", tt.args, code, err, out)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}} {
		if code, out, _ := runs(t, "", args...); code != 0 || !strings.Contains(out, "Example:") {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
	for _, v := range Verbs() {
		for line := range strings.Lines(v.Example) {
			if !strings.HasPrefix(line, "vic-env ") && !strings.Contains(line, "| vic-env ") {
				t.Errorf("%s: the example %q runs no vic-env", v.Name, line)
			}
		}
		for _, args := range [][]string{{v.Name, "--help"}, {"help", v.Name}, {v.Name, "-h"}} {
			if code, out, _ := runs(t, "", args...); code != 0 || !strings.Contains(out, "Usage:\n  vic-env "+v.Name) || !strings.HasPrefix(out, v.Short+".\n") {
				t.Errorf("%q: %d %s", args, code, out)
			}
		}
	}
}

func TestSchema(t *testing.T) {
	code, out, _ := runs(t, "", "schema")
	var schema struct {
		Defs map[string]struct {
			Properties map[string]struct{ Description, Unit, Privacy string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(out), &schema); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	disk := schema.Defs["Disk"].Properties
	if disk["serial"].Privacy != "identifying" || disk["size"].Unit != "bytes" || disk["size"].Description == "" {
		t.Errorf("%+v", disk)
	}
}
