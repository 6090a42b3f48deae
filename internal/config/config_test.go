package config_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/config"
)

const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN15xT1DEw1l8uCNl9gHxqXGpVVAUGW5V9j2uOnGmJ1z anna, at home"

func open(t testing.TB) *config.Registry {
	t.Helper()
	r, err := config.Open(images.FS())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t testing.TB, item string, l config.Layers) *config.Config {
	t.Helper()
	c, err := open(t).Load(item, l)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write makes files in a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLaterLayersWin(t *testing.T) {
	dir := write(t, map[string]string{
		"env.yaml": "suite: env\nhostname: env\nkernel: cloud\nmemory: 2G\ntimezone: Europe/Berlin\nlinux-firmware: true\n",
		"web.yaml": "# the web server\nhostname: file\nkeymap: de\n",
	})
	c := load(t, "debian", config.Layers{
		Host:    map[string]string{"arch": "arm64", "bootfirmware": "no such option"},
		UserEnv: filepath.Join(dir, "env.yaml"),
		Inline:  []string{filepath.Join(dir, "web.yaml"), "{keymap: fr, suite: inline}"},
		Options: []string{"suite=option", "packages=vim,tmux", "cpus=4"},
	})
	for key, want := range map[string][2]string{
		"locale":   {"C.UTF-8", "type linux-distro"},
		"arch":     {"arm64", "this machine"},
		"timezone": {"Europe/Berlin", filepath.Join(dir, "env.yaml") + ":5"},
		"hostname": {"file", filepath.Join(dir, "web.yaml") + ":2"},
		"keymap":   {"fr", "-n (inline):1"},
		"suite":    {"option", "-o"},
	} {
		if got := [2]string{c.String(key), c.Source(key)}; got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if got := c.List("packages"); !slices.Equal(got, []string{"vim", "tmux"}) {
		t.Errorf("packages: got %q", got)
	}
	if c.Size("memory") != 2<<30 || c.Int("cpus") != 4 {
		t.Errorf("memory %d, cpus %d", c.Size("memory"), c.Int("cpus"))
	}
	if c.Explicit("arch") || !c.Explicit("suite") || !c.Explicit("timezone") || c.Explicit("locale") {
		t.Error("Explicit does not tell people from defaults")
	}
}

// What an item says of the machine that it is for is not what this machine is.
func TestItemsWinOverTheMachine(t *testing.T) {
	dir := write(t, map[string]string{"pi.yaml": "from: debian\noptions: {arch: arm64}\n", "here.yaml": "from: debian\n"})
	for file, want := range map[string]string{"pi.yaml": "arm64", "here.yaml": "amd64"} {
		c := load(t, filepath.Join(dir, file), config.Layers{Host: map[string]string{"arch": "amd64"}})
		if got := c.String("arch"); got != want {
			t.Errorf("%s: got %s, want %s (%s)", file, got, want, c.Source("arch"))
		}
	}
}

func TestOptionWithoutValue(t *testing.T) {
	c := load(t, "installer", config.Layers{Options: []string{"linux-firmware"}})
	if !c.Bool("linux-firmware") {
		t.Error("-o BOOL does not set it")
	}
	c = load(t, "debian", config.Layers{Inline: []string{"packages: [vim]"}, Options: []string{"packages"}})
	if got := c.List("packages"); got == nil || len(got) != 0 {
		t.Errorf("-o LIST does not empty it: %q", got)
	}
}

func TestListsWithCommas(t *testing.T) {
	c := load(t, "debian", config.Layers{Options: []string{`kernel-params=["console=ttyS0,115200", quiet]`}})
	if got := c.List("kernel-params"); !slices.Equal(got, []string{"console=ttyS0,115200", "quiet"}) {
		t.Errorf("got %q", got)
	}
}

func TestJSONWithTabs(t *testing.T) {
	c := load(t, "debian", config.Layers{Inline: []string{"{\n\t\"hostname\":\t\"web1\",\n\t\"packages\": [\"vim\"]\n}\n"}})
	if c.String("hostname") != "web1" || c.Source("packages") != "-n (inline):3" {
		t.Errorf("got %q, %q", c.String("hostname"), c.Source("packages"))
	}
}

func TestKeysComeFromFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"keys.pub": "# mine\n" + testKey + "\n\n" + strings.Replace(testKey, "anna", "bert", 1) + "\n",
		"a.yaml":   `sshkey: "@keys.pub"`,
		"b.yaml":   "sshkey:\n- '@keys.pub'\n- " + testKey,
	})
	for args, want := range map[string]int{"a.yaml": 2, "b.yaml": 3} {
		c := load(t, "debian", config.Layers{Inline: []string{filepath.Join(dir, args)}})
		if got := c.List("sshkey"); len(got) != want || got[0] != testKey {
			t.Errorf("%s: got %q", args, got)
		}
	}
	c := load(t, "debian", config.Layers{Options: []string{"sshkey=@" + filepath.Join(dir, "keys.pub")}})
	if len(c.List("sshkey")) != 2 {
		t.Errorf("got %q", c.List("sshkey"))
	}
}

func TestRefuses(t *testing.T) {
	dir := write(t, map[string]string{
		"private": "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\n",
		"empty":   "\n",
		"bad.yaml": "hostnme: web1\n" +
			"packages: vim\n" +
			"cpus: two\n" +
			"  # a comment\n" +
			"suite: 13\n" +
			"memory: 1GB\n" +
			"kernel: clud\n" +
			"linux-firmware: true\n" +
			"password: hunter2\n" +
			"kernel-params: [quiet, [nested], 7]\n",
	})
	bad := filepath.Join(dir, "bad.yaml")
	for name, tt := range map[string]struct {
		item   string
		layers config.Layers
		want   []string // every one of these lines
	}{
		"misspelt item":   {item: "debain", want: []string{`unknown item "debain"`, `did you mean "debian"?`}},
		"no such file":    {item: "./mine.yaml", want: []string{"read item: open ./mine.yaml: no such file"}},
		"misspelt option": {layers: config.Layers{Options: []string{"hostnmae=x"}}, want: []string{`-o hostnmae: unknown option "hostnmae" of item debian; did you mean "hostname"?`}},
		"secret as -o":    {layers: config.Layers{Options: []string{"password=hunter2"}}, want: []string{`-o password: "password" is a secret`}},
		"needs value":     {layers: config.Layers{Options: []string{"suite"}}, want: []string{"-o suite: needs a value, expected the code name of a release: -o suite=VALUE"}},
		"empty element":   {layers: config.Layers{Options: []string{"packages=vim,,tmux"}}, want: []string{`-o packages=vim,,tmux: expected the name of a package, got ""`}},
		"out of range":    {layers: config.Layers{Options: []string{"memory=1M", "cpus=0"}}, want: []string{"-o memory=1M: expected at least 64M, got 1M", "-o cpus=0: expected at least 1, got 0"}},
		"bool":            {item: "installer", layers: config.Layers{Options: []string{"linux-firmware=maybe"}}, want: []string{`expected true or false, got "maybe"`}},
		"host name":       {layers: config.Layers{Options: []string{"hostname=my_host"}}, want: []string{"expected a host name"}},
		"private key":     {layers: config.Layers{Options: []string{"sshkey=@" + dir + "/private"}}, want: []string{"expected a public SSH key"}},
		"no keys":         {layers: config.Layers{Options: []string{"sshkey=@" + dir + "/empty"}}, want: []string{"/empty is empty"}},
		"key file gone":   {layers: config.Layers{Options: []string{"sshkey=@" + dir + "/gone"}}, want: []string{"/gone: no such file"}},
		"broken host":     {layers: config.Layers{Host: map[string]string{"arch": "riscv64"}}, want: []string{"this machine: arch: expected one of amd64, arm64"}},
		"-n file gone":    {layers: config.Layers{Inline: []string{"web.yaml"}}, want: []string{"open web.yaml: no such file"}},
		"-n list":         {layers: config.Layers{Inline: []string{"- a: b"}}, want: []string{"-n (inline):1:1: expected a mapping (key: value), got a list"}},
		"-n syntax":       {layers: config.Layers{Inline: []string{"a: 'b"}}, want: []string{"-n (inline):1:4: "}},
		"-n twice a key":  {layers: config.Layers{Inline: []string{"suite: a\nsuite: b"}}, want: []string{"-n (inline):2:1: "}},
		"-n alias":        {layers: config.Layers{Inline: []string{"suite: &a b\nhostname: *a"}}, want: []string{":1:8: ", ":2:11: "}},
		"-n documents":    {layers: config.Layers{Inline: []string{"suite: a\n---\nsuite: b"}}, want: []string{"second document"}},
		"-n huge":         {layers: config.Layers{Inline: []string{"a: " + strings.Repeat("b", 64<<10)}}, want: []string{"-n (inline): is 65539 bytes long"}},
		"env unknown":     {layers: config.Layers{UserEnv: filepath.Join(dir, "bad.yaml")}, want: []string{bad + `:1:1: no item has an option "hostnme"; did you mean "hostname"?`, bad + `:9:1: "password" is a secret`}},
		"all at once": {layers: config.Layers{Inline: []string{bad}, Options: []string{"timezone=Berlin!"}}, want: []string{
			bad + `:1:1: unknown option "hostnme" of item debian; did you mean "hostname"?`,
			bad + `:2:11: option "packages": expected a list, each element the name of a package, got the string "vim"`,
			bad + `:3:7: option "cpus": expected a whole number, got the string "two"`,
			bad + `:5:8: option "suite": expected the code name of a release, got the number 13; write it in quotes: "13"`,
			bad + `:6:9: option "memory": expected a size such as 512M or 8G, got "1GB"`,
			bad + `:7:9: option "kernel": expected one of generic, cloud, got "clud"; did you mean "cloud"?`,
			bad + `:8:1: option "linux-firmware" belongs to items of type provision, and debian is linux-distro, board, raspberry-firmware, machine, vm`,
			bad + `:9:1: "password" is a secret, and secrets are no options: give it with -s password=@FILE`,
			bad + `:10:24: option "kernel-params": expected a kernel parameter without spaces, got a list`,
			bad + `:10:34: option "kernel-params": expected a kernel parameter without spaces, got the number 7; write it in quotes: "7"`,
			`-o timezone=Berlin!: expected a name from the time zone database, got "Berlin!"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.item == "" {
				tt.item = "debian"
			}
			_, err := open(t).Load(tt.item, tt.layers)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("missing %q in:\n%v", want, err)
				}
			}
			if lines := strings.Count(err.Error(), "\n") + 1; len(tt.want) > 2 && lines != len(tt.want) {
				t.Errorf("%d errors, want %d:\n%v", lines, len(tt.want), err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestUserItemExtends(t *testing.T) {
	dir := write(t, map[string]string{
		"web.yaml": `from: debian
description: a web server
options:
  hostname: web
  packages: [nginx]
secrets:
  tls-key: {description: key of the certificate, required: true}
lists:
  packages:
    - when: {kernel: [cloud]}
      names: [cloud-guest-utils]
`,
		"wrong.yaml":  "from: debian\noptoins:\n  hostname: web\n",
		"cond.yaml":   "from: debian\nlists:\n  packages:\n  - when: {kernl: [cloud]}\n    names: [a]\n",
		"never.yaml":  "from: debian\nlists:\n  packages:\n  - when: {memory: [1024M]}\n    names: [a]\n",
		"parent.yaml": "from: debain\n",
		"type.yaml":   "types: [linux-distor]\n",
		"value.yaml":  "from: debian\noptions:\n  cpus: many\n",
	})
	path := filepath.Join(dir, "web.yaml")
	c := load(t, path, config.Layers{Options: []string{"kernel=cloud"}})
	if c.Item().Name != "web" || c.String("hostname") != "web" || c.Source("hostname") != path+":4" || c.Explicit("hostname") {
		t.Errorf("got %q from %q", c.String("hostname"), c.Source("hostname"))
	}
	if got := c.Select("packages"); !slices.Contains(got, "cloud-guest-utils") || !slices.Contains(got, "openssh-server") {
		t.Errorf("packages: got %q", got)
	}
	var names []string
	for _, s := range c.Item().Secrets {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"password", "tls-key"}) {
		t.Errorf("secrets: got %q", names)
	}
	if d := load(t, "debian", config.Layers{}); d.String("hostname") != "debian" || slices.Contains(d.Select("packages"), "cloud-guest-utils") {
		t.Error("the parent changed with its child")
	}
	for file, want := range map[string]string{
		"wrong.yaml":  `:2:1: unknown key "optoins"; did you mean "options"?`,
		"cond.yaml":   `did you mean "kernel"?`,
		"never.yaml":  `list "packages" depends on option "memory": the value 1024M is written 1G`,
		"parent.yaml": `extends unknown item "debain"; did you mean "debian"?`,
		"type.yaml":   `unknown type "linux-distor"; did you mean "linux-distro"?`,
		"value.yaml":  `:3:9: option "cpus": expected a whole number, got the string "many"`,
	} {
		if _, err := open(t).Load(filepath.Join(dir, file), config.Layers{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", file, err, want)
		}
	}
}

func TestSelect(t *testing.T) {
	for _, tt := range []struct {
		item, list string
		options    []string
		has, not   string
	}{
		{"debian", "packages", nil, "grub-pc linux-image-amd64 systemd-boot", "locales console-setup linux-image-cloud-amd64"},
		{"debian", "packages", []string{"arch=arm64", "kernel=cloud"}, "linux-image-cloud-arm64 systemd-boot", "grub-pc linux-image-amd64"},
		{"debian", "packages", []string{"locale=de_DE.UTF-8", "keymap=de"}, "locales console-setup", ""},
		{"installer", "kernel", []string{"kernel=cloud"}, "linux-image-cloud-amd64", "linux-image-amd64"},
		{"installer", "no such list", nil, "", "storage"},
	} {
		got := load(t, tt.item, config.Layers{Options: tt.options}).Select(tt.list)
		for _, name := range strings.Fields(tt.has) {
			if !slices.Contains(got, name) {
				t.Errorf("%+v: %s is missing in %q", tt, name, got)
			}
		}
		for _, name := range strings.Fields(tt.not) {
			if slices.Contains(got, name) {
				t.Errorf("%+v: %s is in %q", tt, name, got)
			}
		}
	}
}

func TestSelectConditions(t *testing.T) {
	const types = `
options:
  fast: {type: bool, default: false, description: d, layer: build}
  mem: {type: size, default: 1G, description: d, layer: build}
  arch: {type: enum, values: [a, b, c], default: a, description: d, layer: build}
`
	const item = `
types: [t]
lists:
  names:
    - names: [z, always, always]
    - when: {fast: ["true"]}
      names: [fast]
    - when: {arch: [b, c], fast: ["false"]}
      names: [b-or-c-slow]
    - unless: {mem: [1G]}
      names: [not-1G]
    - when: {arch: [c]}
      unless: {fast: ["true"]}
      names: [c-slow]
`
	r, err := config.Open(fstest.MapFS{"types/t.yaml": {Data: []byte(types)}, "items/i.yaml": {Data: []byte(item)}})
	if err != nil {
		t.Fatal(err)
	}
	for options, want := range map[string][]string{
		"fast=false":      {"always", "z"},
		"fast":            {"always", "fast", "z"},
		"arch=b":          {"always", "b-or-c-slow", "z"},
		"arch=c":          {"always", "b-or-c-slow", "c-slow", "z"},
		"arch=c fast":     {"always", "fast", "z"},
		"mem=1024M":       {"always", "z"},
		"mem=2G fast=yes": {"always", "fast", "not-1G", "z"},
	} {
		c, err := r.Load("i", config.Layers{Options: strings.Fields(options)})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Select("names"); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", options, got, want)
		}
	}
}

func TestJSONIsTheSameForTheSameValues(t *testing.T) {
	a := load(t, "debian", config.Layers{Options: []string{"hostname=x", "memory=1024M"}})
	b := load(t, "debian", config.Layers{Inline: []string{"{memory: 1G, hostname: x}"}})
	ja, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	jb, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(ja), string(jb)); diff != "" {
		t.Error(diff)
	}
	want := map[string]any{"arch": "amd64", "board": "none", "config-txt": []string{}, "keymap": "us", "kernel": "generic", "locale": "C.UTF-8",
		"overlays": []string{}, "packages": []string{}, "serial": true, "suite": "trixie", "tools": []string{}}
	if diff := cmp.Diff(want, a.Values(config.Build)); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefusesBrokenData(t *testing.T) {
	const good = "description: d\noptions:\n  a: {type: bool, default: false, description: d, layer: build}\n"
	for name, tt := range map[string]struct{ typ, item, want string }{
		"no default":      {"options: {a: {type: bool, description: d, layer: build}}", "types: [t]", "needs a default"},
		"no layer":        {"options: {a: {type: bool, default: true, description: d}}", "types: [t]", "needs a description and a layer"},
		"wrong default":   {"options: {a: {type: int, default: x, description: d, layer: build}}", "types: [t]", "expected a whole number"},
		"wrong example":   {"options: {a: {type: int, default: 1, example: x, description: d, layer: build}}", "types: [t]", "example of \"a\""},
		"unknown kind":    {"options: {a: {type: float, default: 1, description: d, layer: build}}", "types: [t]", `unknown type "float"`},
		"bad pattern":     {"options: {a: {type: string, pattern: '(', default: b, description: d, layer: build}}", "types: [t]", "pattern"},
		"enum, no values": {"options: {a: {type: enum, default: b, description: d, layer: build}}", "types: [t]", "needs values"},
		"item no types":   {good, "description: x", "needs `types`"},
		"item bad value":  {good, "types: [t]\noptions: {a: 3}", "expected true or false, got the number 3"},
		"good":            {good, "types: [t]\noptions: {a: true}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Open(fstest.MapFS{
				"types/t.yaml": {Data: []byte(tt.typ)}, "items/i.yaml": {Data: []byte(tt.item)},
			})
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var ce *config.Error
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &ce) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := config.Open(fstest.MapFS{}); err == nil {
		t.Error("an empty tree was accepted")
	}
}

func TestUserEnvMayBeMissing(t *testing.T) {
	load(t, "debian", config.Layers{UserEnv: filepath.Join(t.TempDir(), "env.yaml")})
	if _, err := open(t).Load("debian", config.Layers{UserEnv: t.TempDir()}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was read as settings: %v", err)
	}
}

func TestWrongAccessorPanics(t *testing.T) {
	c := load(t, "debian", config.Layers{})
	for name, f := range map[string]func(){
		"no such option": func() { c.String("format") },
		"wrong kind":     func() { c.Bool("suite") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: did not panic", name)
				}
			}()
			f()
		}()
	}
}
