package builder

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/service"
)

func applianceFiles(t *testing.T, change func(*ApplianceSpec)) (map[string]string, error) {
	t.Helper()
	graph, err := images.Services("wifi-access-point")
	if err != nil {
		t.Fatal(err)
	}
	spec := ApplianceSpec{InstallerSpec: InstallerSpec{Item: "x", Arch: "amd64", Packages: []string{"wireless-regdb"}}, Services: graph,
		Documents: map[string][]byte{"a.json": []byte("{}")}}
	if change != nil {
		change(&spec)
	}
	files, err := spec.files()
	if errors.Is(err, programs.ErrNotBuilt) {
		t.Skip(err)
	}
	texts := map[string]string{}
	for _, f := range files {
		texts[f.Path] = f.Link
		if f.Data != nil {
			b := make([]byte, f.Size)
			if _, err := f.Data.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			texts[f.Path] = string(b)
		}
	}
	return texts, err
}

// TestApplianceFiles: a service that is left out is not in the graph.
func TestApplianceFiles(t *testing.T) {
	files, err := applianceFiles(t, func(s *ApplianceSpec) { s.Without = []string{"portal", "ssh"} })
	if err != nil {
		t.Fatal(err)
	}
	g, err := service.Decode(bytes.NewReader([]byte(files["etc/vic/services.json"])))
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(g.Services, func(s service.Service) bool { return s.Name == name })
	}
	if has("portal") || has("ssh") || !has("firewall") || !has("dnsmasq") {
		t.Errorf("services %+v", g.Services)
	}
	for name, want := range map[string]string{
		"etc/vic/a.json": "{}", "usr/bin/vic-init": "/usr/libexec/vic-appliance",
		"usr/lib/firmware/regulatory.db": "regulatory.db-debian", "usr/lib/firmware/regulatory.db.p7s": "regulatory.db.p7s-debian",
	} {
		if files[name] != want {
			t.Errorf("%s: %q, want %q", name, files[name], want)
		}
	}
	if !strings.HasPrefix(files["usr/libexec/vic-appliance"], "\x7fELF") || !strings.Contains(files["etc/passwd"], "\ndnsmasq:") {
		t.Error("no program, or no user for dnsmasq")
	}
}

func TestApplianceRefuses(t *testing.T) {
	for want, change := range map[string]func(*ApplianceSpec){
		`there is no service "lan"`:           func(s *ApplianceSpec) { s.Without = []string{"lan"} },
		`document "../x" is no name`:          func(s *ApplianceSpec) { s.Documents = map[string][]byte{"../x": nil} },
		`document "services.json" is no name`: func(s *ApplianceSpec) { s.Documents = map[string][]byte{"services.json": nil} },
		`unknown key "servces"`:               func(s *ApplianceSpec) { s.Services = []byte(`{"servces": []}`) },
		`no target programs for architecture`: func(s *ApplianceSpec) { s.Arch = "vax" },
	} {
		if _, err := applianceFiles(t, change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
