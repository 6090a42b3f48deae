package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

func TestInventory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machines.yaml")
	const text = `
- on: root@web1.example.org
  disk: match:serial=S1
  options: {hostname: web1}
- on: anna@[2001:db8::7]:2222
  disk: [a=/dev/sda, b=/dev/sdb]
  nic: lan0=mac:52:54:00:12:34:56
  options: {hostname: web2, packages: [nginx, git]}
  secrets: {password: "@web2.password"}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := (&onFlags{hosts: []string{"db1"}, inventory: path}).machines()
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	if all[0].host != (remote.Host{Name: "db1"}) || all[2].host != (remote.Host{User: "anna", Name: "2001:db8::7", Port: 2222}) {
		t.Errorf("%+v", all)
	}
	given := installFlags{item: itemFlags{options: []string{"suite=trixie", "hostname=all"}}, layout: layoutFlags{disks: []string{"/dev/vda"}}}
	f, err := all[2].apply(given)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.layout.disks, []string{"a=/dev/sda", "b=/dev/sdb"}) || !slices.Equal(f.nics, []string{"lan0=mac:52:54:00:12:34:56"}) ||
		!slices.Equal(f.item.secrets.args, []string{"password=@web2.password"}) || !slices.Equal(f.item.options, []string{"suite=trixie"}) ||
		len(f.item.inline) != 1 || !strings.Contains(f.item.inline[0], `"nginx"`) {
		t.Errorf("%+v", f)
	}
	if f, err := all[0].apply(given); err != nil || len(f.item.options) != 2 || !slices.Equal(f.layout.disks, []string{"/dev/vda"}) || len(f.item.inline) != 0 {
		t.Errorf("%+v %v", f, err)
	}
	if len(given.item.inline) != 0 || len(given.item.secrets.args) != 0 {
		t.Error("what is one machine's came to all")
	}
}

func TestInventoryMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "lists no machine",
		"- {on: a, dsik: /dev/sda}": `unknown field "dsik"`,
		"- {on: a}\n- {on: a}":      "a is named twice",
		"- {on: 'root@'}":           "names no host",
		"on: a":                     "--inventory",
	} {
		path := filepath.Join(t.TempDir(), "machines.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := (&onFlags{inventory: path}).machines()
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%q: %v, exit code %d", text, err, exitCode(err))
		}
	}
}

func TestOnFlags(t *testing.T) {
	good := onFlags{hosts: []string{"a"}, network: networkKeep, enter: enterFlags{probation: minProbation}}
	if err := good.check(&installFlags{}); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*onFlags, *installFlags){
		"--vm and --on":          func(_ *onFlags, all *installFlags) { all.vm = true },
		"expected keep":          func(f *onFlags, _ *installFlags) { f.network = "static" },
		"an http or https URL":   func(f *onFlags, _ *installFlags) { f.payloadURL = "/srv/payload.erofs" },
		"is for another machine": func(f *onFlags, _ *installFlags) { f.hosts, f.payloadURL = nil, "http://x/y" },
		"needs at least 30s":     func(f *onFlags, _ *installFlags) { f.enter.probation = 1 },
	} {
		f, all := good, installFlags{}
		change(&f, &all)
		if err := f.check(&all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}

func TestBlobURL(t *testing.T) {
	for url, want := range map[string]string{
		"http://web/payload.erofs":        "http://web/payload.erofs",
		"oci://registry:5000/team/debian": "https://registry:5000/v2/team/debian/blobs/sha256:abc",
		"":                                "",
	} {
		if got := blobURL(url, "abc"); got != want {
			t.Errorf("blobURL(%q) = %q, want %q", url, got, want)
		}
	}
}

// Who could log in before can after, as the same user where there is one.
func TestKeepLogin(t *testing.T) {
	anna := request.User{Name: "anna", SSHKeys: []string{"k1"}}
	for _, tt := range []struct {
		name  string
		users []request.User
		login string
		want  []string
	}{
		{"anna", []request.User{anna}, "anna", []string{"k1", "k2"}},
		{"bert", []request.User{anna}, "root", []string{"k1", "k2"}},
		{"root", []request.User{{Name: "root", SSHKeys: []string{"k2", "k3"}}}, "root", []string{"k2", "k3", "k1"}},
	} {
		all, login := keepLogin(tt.users, tt.name, []string{"k1", "k2"})
		i := slices.IndexFunc(all, func(u request.User) bool { return u.Name == login })
		if login != tt.login || i < 0 || !slices.Equal(all[i].SSHKeys, tt.want) {
			t.Errorf("%s: %s, %+v", tt.name, login, all)
		}
	}
	if len(anna.SSHKeys) != 1 {
		t.Error("the item's own user was changed")
	}
}

// Secrets of each of several machines are hidden from what is told of any.
func TestAlsoHide(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out}
	for host, word := range map[string]string{"web1": "first-secret", "web2": "second-secret"} {
		set, err := secret.Parse([]string{"password=" + word}, secret.Host{})
		if err != nil {
			t.Fatal(err)
		}
		a.alsoHide(host, set)
	}
	a.report(errors.New("it said first-secret and second-secret"))
	if strings.Contains(out.String(), "first-secret") || strings.Contains(out.String(), "second-secret") {
		t.Errorf("%s", out.String())
	}
	var told event.Event
	a.hideSecrets(event.SinkFunc(func(e event.Event) { told = e })).Emit(event.Event{Message: "second-secret"})
	if strings.Contains(told.Message, "second") {
		t.Errorf("%+v", told)
	}
}

func TestWorst(t *testing.T) {
	if err := worst([]error{nil, nil}); err != nil {
		t.Error(err)
	}
	err := worst([]error{fail(exitRefused, errors.New("a"), "look"), nil, fail(exitResumable, errors.New("b"), "again")})
	if exitCode(err) != exitResumable || hintOf(err) != "again" || err.Error() != "a\nb" {
		t.Errorf("%v, exit code %d, hint %q", err, exitCode(err), hintOf(err))
	}
}

// In RAM nothing uses the disks, and the facts of the system before stay as they
// are.
func TestInRAM(t *testing.T) {
	var f envscan.Facts
	f.HW.Disk = []envscan.Disk{{Name: "sda", InUse: []string{"sda1 is mounted at /"}}}
	if got := inRAM(f); len(got.HW.Disk[0].InUse) != 0 || !got.OS.RAM || len(f.HW.Disk[0].InUse) != 1 || f.OS.RAM {
		t.Errorf("%+v, %+v", got.HW.Disk, f.HW.Disk)
	}
}

func TestLinkModules(t *testing.T) {
	c := netconf.Config{Links: []netconf.Link{{Kind: netconf.Physical}, {Kind: netconf.Bond}, {Kind: netconf.VLAN}, {Kind: netconf.VLAN}}}
	if got := linkModules(c); !slices.Equal(got, []string{"bonding", "8021q"}) {
		t.Errorf("%v", got)
	}
}

func TestLeftRAM(t *testing.T) {
	for want, errs := range map[bool][]error{
		true: {
			&remote.Error{Exit: 127, Stderr: "bash: line 1: vic: command not found"},
			fmt.Errorf("vic deliver: %w", &remote.Error{Exit: 255, Stderr: "root@old: Permission denied (publickey)."}),
		},
		false: {
			nil, errors.New("127"), &remote.Error{Exit: 1},
			&remote.Error{Exit: 255, Stderr: "Connection refused"}, &remote.Error{Exit: 255, Stderr: "Host key verification failed."},
		},
	} {
		for _, err := range errs {
			if leftRAM(err) != want {
				t.Errorf("%v: expected %v", err, want)
			}
		}
	}
}

func TestKeepConsoles(t *testing.T) {
	const serial = "root=UUID=1 ro console=tty0 quiet console=ttyS0,115200n8 vic.console=x"
	for name, test := range map[string]struct {
		system request.System
		before envscan.OS
		want   []string
	}{
		"in their order, after what is given":  {request.System{Cmdline: []string{"quiet"}}, envscan.OS{Cmdline: serial}, []string{"quiet", "console=tty0", "console=ttyS0,115200n8"}},
		"nothing is given":                     {request.System{}, envscan.OS{Cmdline: "console=hvc0"}, []string{"console=hvc0"}},
		"there were none":                      {request.System{Cmdline: []string{"quiet"}}, envscan.OS{Cmdline: "root=UUID=1 ro"}, []string{"quiet"}},
		"one is given":                         {request.System{Cmdline: []string{"console=tty0", "quiet"}}, envscan.OS{Cmdline: serial}, []string{"console=tty0", "quiet"}},
		"the one before is vic's RAM system":   {request.System{Cmdline: []string{"quiet"}}, envscan.OS{Cmdline: serial, RAM: true}, []string{"quiet"}},
		"the consoles of a board are its own":  {request.System{Board: &request.Board{Console: "serial0,115200"}}, envscan.OS{Cmdline: serial}, nil},
		"what the request has is not changed":  {request.System{Cmdline: make([]string, 0, 8)}, envscan.OS{Cmdline: "console=ttyS1"}, []string{"console=ttyS1"}},
		"the command line before is not known": {request.System{}, envscan.OS{}, nil},
	} {
		given := slices.Clone(test.system.Cmdline)
		got := keepConsoles(test.system, envscan.Facts{OS: test.before})
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		if !slices.Equal(test.system.Cmdline, given) {
			t.Errorf("%s: the request's own became %q", name, test.system.Cmdline)
		}
	}
}
