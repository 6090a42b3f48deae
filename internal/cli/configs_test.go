package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/template"
)

// blocks are the YAML examples of a page.
func blocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for i, part := range strings.Split(string(text), "```yaml\n") {
		if block, _, closed := strings.Cut(part, "```"); i > 0 && closed {
			list = append(list, block)
		}
	}
	return list
}

// exampleMachine has what the examples ask for.
func exampleMachine() envscan.Facts {
	return envscan.Facts{
		Schema: envscan.Schema, OS: envscan.OS{Type: "linux", Timezone: "Asia/Tokyo"},
		HW: envscan.HW{
			Arch: "amd64", Firmware: envscan.Firmware{Type: "uefi"}, CPU: envscan.CPU{Flags: []string{"avx2"}},
			TPM: &envscan.TPM{Version: "2.0"}, DMI: &envscan.DMI{Serial: "EXAMPLE-1"},
			NIC: []envscan.NIC{
				{Name: "eth0", Driver: "virtio_net", HWAddr: "52:54:00:00:00:01", HWAddrFrom: "permanent"},
				{Name: "wlan0", Driver: "mac80211_hwsim", Wireless: true, HWAddr: "52:54:00:00:00:02", HWAddrFrom: "permanent"},
			},
		},
	}
}

// The examples of docs/configs.md load, fit a machine, and become what the page
// says.
func TestConfigsInTheDocs(t *testing.T) {
	written := map[string]string{}
	examples := blocks(t, "configs.md")
	if len(examples) < 5 {
		t.Fatalf("the page has %d examples", len(examples))
	}
	for _, text := range examples {
		item, layers := "debian", config.Layers{Facts: knownFact, Options: []string{"packages=vim,tmux"}}
		file := filepath.Join(t.TempDir(), "web.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(text, "from:"):
			item = file
		case strings.HasPrefix(text, "# env.yaml"):
			layers.UserEnv = file
		default:
			layers.Inline = []string{file}
		}
		c, err := testRegistry(t).Load(item, layers)
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		sys := system(c, secret.Set{}, request.APT{})
		if err := sys.Check(); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		if err := fits(c, secret.Set{}, exampleMachine()); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		render(t, written, sys)
	}
	for path, want := range map[string]string{
		"/etc/network-cards":       "eth0 VIRTIO_NET cable\nwlan0 MAC80211_HWSIM radio\nTPM 2.0\n\"vim\"\n\"tmux\"\n",
		"/etc/ssl/private/web.key": "[tls-key]",
		"/var/www/html/index.html": "This is web-525400000001.\n",
		"hostname":                 "node-example-1", // of the last example that sets it
		"time zone":                "Asia/Tokyo",
		"kernel parameter":         "console=ttyS0,115200",
	} {
		if written[path] != want {
			t.Errorf("%s: got %q, want %q", path, written[path], want)
		}
	}
}

// render notes what the templates of a system become on the machine.
func render(t *testing.T, written map[string]string, sys request.System) {
	t.Helper()
	src := plan.Source(sys, exampleMachine())
	for _, f := range sys.Files {
		tmpl, err := template.Parse(f.Content)
		if err != nil {
			t.Fatal(err)
		}
		segments, err := tmpl.Render(src)
		if err != nil {
			t.Fatal(err)
		}
		out, err := template.Fill(segments, func(name string) (string, error) { return "[" + name + "]", nil })
		if err != nil {
			t.Fatal(err)
		}
		written[f.Path] = string(out)
	}
	_, err := sys.Map(func(field, text string) (string, error) {
		tmpl, err := template.Parse(text)
		if err != nil || !template.Is(text) {
			return text, err
		}
		written[field], err = tmpl.Text(src)
		return text, err
	})
	if err != nil {
		t.Error(err)
	}
}

// The facts that built-in items ask for exist.
func TestBuiltInItemsLoad(t *testing.T) {
	r := testRegistry(t)
	for _, it := range r.Items() {
		if _, err := r.Load(it.Name, config.Layers{Facts: knownFact}); err != nil {
			t.Errorf("%s: %v", it.Name, err)
		}
	}
}
