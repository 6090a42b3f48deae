package ramsys

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/agent/appliance"
)

const someHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseCmdline(t *testing.T) {
	with := func(change func(*Cmdline)) Cmdline {
		c := Cmdline{Net: NetAuto, OnError: OnErrorShell, Watchdog: 60 * time.Second, Blacklist: map[string]bool{}, ModuleParams: map[string]string{}}
		change(&c)
		return c
	}
	for _, tt := range []struct {
		line string
		want Cmdline
	}{
		{"", with(func(*Cmdline) {})},
		{"quiet console=ttyS0,115200n8 rootfstype=ramfs\n", with(func(*Cmdline) {})},
		{"vic.debug vic.net=wait vic.onerror=poweroff", with(func(c *Cmdline) {
			c.Debug, c.Net, c.OnError = true, NetWait, "poweroff"
		})},
		{"vic.debug=1 vic.debug=0", with(func(*Cmdline) {})},
		{`vic.system="PARTLABEL=vic system"`, with(func(c *Cmdline) { c.System.PartLabel = "vic system" })},
		{`"vic.net=no"`, with(func(c *Cmdline) { c.Net = NetNo })},
		{"vic.system=http://10.0.2.2:8000/s.erofs#sha256=" + someHash, with(func(c *Cmdline) {
			c.System = Source{URL: "http://10.0.2.2:8000/s.erofs", SHA256: someHash}
		})},
		{"vic.system=SLOT=1234abcd-02", with(func(c *Cmdline) { c.System.Slot = appliance.ID{Disk: 0x1234abcd, Partition: 2} })},
		{"vic.watchdog=7", with(func(c *Cmdline) { c.Watchdog = 7 * time.Second })},
		{"vic.watchdog=no", with(func(c *Cmdline) { c.Watchdog = 0 })},
		{"vic.watchdog=0", with(func(c *Cmdline) {
			c.Warnings = []string{`kernel command line: vic.watchdog: "0" is neither no nor 1 to 3600 seconds`}
		})},
		{"vic.debug -- vic.net=no", with(func(c *Cmdline) { c.Debug = true })},
		{"usb-storage.quirks=a:b:u usb_storage.delay_use=0 i8042.nomux", with(func(c *Cmdline) {
			c.ModuleParams["usb_storage"], c.ModuleParams["i8042"] = "quirks=a:b:u delay_use=0", "nomux"
		})},
		{"modprobe.blacklist=a-b,c", with(func(c *Cmdline) { c.Blacklist["a_b"], c.Blacklist["c"] = true, true })},
		{"modules-load=mac80211_hwsim,dummy mac80211_hwsim.radios=2 modules-load=", with(func(c *Cmdline) {
			c.Load, c.ModuleParams["mac80211_hwsim"] = []string{"mac80211_hwsim", "dummy"}, "radios=2"
		})},
		{"vic.nett=no", with(func(c *Cmdline) {
			c.Warnings = []string{"kernel command line: unknown key vic.nett, nearest is vic.net"}
		})},
		{"vic.net=maybe vic.debug=yes!", with(func(c *Cmdline) {
			c.Warnings = []string{`kernel command line: vic.net: "maybe" is none of auto, wait, no`,
				`kernel command line: vic.debug: "yes!" is neither 0 nor 1`}
		})},
	} {
		if d := cmp.Diff(tt.want, ParseCmdline(tt.line)); d != "" {
			t.Errorf("%q: %s", tt.line, d)
		}
	}
}

func TestParseSourceRefuses(t *testing.T) {
	for v, want := range map[string]string{
		"":                             "neither PARTLABEL=... nor SLOT=... nor a URL",
		"SLOT=1234abcd-03":             "no slot of a card",
		"PARTLABEL=":                   "neither",
		"ftp://h/x#sha256=" + someHash: "neither",
		"http:///x#sha256=" + someHash: "neither",
		"http://h/x":                   "only trusted by its hash",
		"http://h/x#sha256=12":         "no SHA-256",
		"http://h/x#sha256=" + strings.ToUpper(someHash): "no SHA-256",
	} {
		if s, err := parseSource(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v, want %q", v, s, err, want)
		}
	}
}

// Every key is documented, and has a name that is written down once.
func TestKeys(t *testing.T) {
	var names []string
	for _, k := range keys() {
		if k.doc == "" || !strings.HasPrefix(k.name, "vic.") || slices.Contains(names, k.name) {
			t.Errorf("key %+v", k)
		}
		names = append(names, k.name)
	}
	if !slices.IsSorted(names) {
		t.Errorf("keys are not sorted: %v", names)
	}
}

func FuzzParseCmdline(f *testing.F) {
	f.Add(`vic.system="PARTLABEL=a b" x.y=z -- q`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, line string) {
		c := ParseCmdline(line)
		if !slices.Contains([]string{NetAuto, NetWait, NetNo}, c.Net) {
			t.Errorf("vic.net=%q", c.Net)
		}
		if (c.System.URL != "") && !isSHA256(c.System.SHA256) {
			t.Errorf("a URL without hash: %+v", c.System)
		}
	})
}
