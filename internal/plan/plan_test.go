package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

var update = flag.Bool("update", false, "rewrite golden files")

// machine has one blank disk and one network card.
func machine(firmware string, sectorSize int) envscan.Facts {
	return envscan.Facts{
		Schema: envscan.Schema,
		HW: envscan.HW{
			Arch:     "amd64",
			Firmware: envscan.Firmware{Type: firmware},
			Memory:   envscan.Memory{Total: 256 << 20},
			Disk: []envscan.Disk{{
				Name: "vda", Path: "pci-0000:00:02.0", Serial: "QM0001",
				Size: 8 << 30, SectorSize: sectorSize, Transport: "virtio",
				Links: []string{"/dev/disk/by-id/virtio-QM0001"},
			}},
			NIC: []envscan.NIC{{Name: "eth0", Path: "pci-0000:00:03.0", Driver: "virtio_net", HWAddr: "52:54:00:12:34:56", HWAddrFrom: "permanent"}},
		},
	}
}

func defaultLayout(t *testing.T) layout.Layout {
	t.Helper()
	doc, err := images.Layout("default", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Parse("default.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func debian(t *testing.T) request.Request {
	t.Helper()
	return request.Request{
		Version: request.Version,
		Item:    "debian",
		Payload: request.Payload{
			Format: "erofs", Size: 150 << 20, TreeSize: 400 << 20, Arch: "amd64", Kernel: "6.12.1-amd64",
			SHA256: strings.Repeat("ab", 32), Source: request.Source{Serial: "vic-payload"},
		},
		Disks:  map[string]request.DiskSelector{"main": {Serial: "QM0001"}},
		Layout: defaultLayout(t),
		System: request.System{
			Hostname: "web1.example.org", Timezone: "Europe/Berlin", Locale: "de_DE.UTF-8", Keymap: "de",
			Users:   []request.User{{Name: "anna", SSHKeys: []string{"ssh-ed25519 AAAA anna"}, PasswordSecret: "password", Sudo: true}},
			Network: request.Network{Mode: request.NetworkDHCP},
			Cmdline: []string{"console=ttyS0,115200"},
			APT:     request.APT{Suite: "trixie", Mirror: "http://mirror.example.org/debian", Security: "http://mirror.example.org/debian-security"},
		},
		Finish: request.FinishPoweroff,
	}
}

func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		name     string
		firmware string
		sector   int
	}{{"uefi-512", "uefi", 512}, {"bios-512", "bios", 512}, {"uefi-4096", "uefi", 4096}} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := plan.New(debian(t), machine(tt.firmware, tt.sector), []string{"password"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".json", append(got, '\n'))
			golden(t, tt.name+".txt", []byte(p.Describe()))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Everything that could be refused later must be refused here, before the
// first write.
func TestRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*request.Request, *envscan.Facts)
		want  string
	}{
		{"newer request", func(r *request.Request, _ *envscan.Facts) { r.Version = 3 }, `version "3" must be 2`},
		{"other architecture", func(r *request.Request, _ *envscan.Facts) { r.Payload.Arch = "arm64" }, "payload is for arm64, this machine is amd64"},
		{"container", func(_ *request.Request, f *envscan.Facts) { f.OS.Container = "lxc" }, "this is a container (lxc)"},
		{"no disk", func(_ *request.Request, f *envscan.Facts) { f.HW.Disk = nil }, "no single disk matches serial QM0001: 0 of 0 do; this machine has no disk"},
		{"wrong serial", func(r *request.Request, _ *envscan.Facts) { r.Disks["main"] = request.DiskSelector{Serial: "QM0002"} }, "no single disk matches serial QM0002: 0 of 1 do; this machine has /dev/vda (serial QM0001, 8.0 GiB)"},
		{"disk too small for the layout", func(_ *request.Request, f *envscan.Facts) { f.HW.Disk[0].Size = 10 << 20 }, "lay out /dev/vda (serial QM0001, 10.0 MiB)"},
		{"disk too small for the payload", func(r *request.Request, _ *envscan.Facts) { r.Payload.TreeSize = 8 << 30 }, "/dev/vda (serial QM0001, 8.0 GiB) is too small: the root file system would hold"},
		{"read-only disk", func(_ *request.Request, f *envscan.Facts) { f.HW.Disk[0].ReadOnly = true }, "is read-only"},
		{"disk in use", func(_ *request.Request, f *envscan.Facts) {
			f.HW.Disk[0].InUse = []string{"/dev/vda1 is mounted on /"}
		}, "is in use: /dev/vda1 is mounted on /"},
		{"disk holds the payload", func(r *request.Request, _ *envscan.Facts) { r.Payload.Source.Serial = "QM0001" }, "holds the payload"},
		{"missing secret", func(r *request.Request, _ *envscan.Facts) { r.System.Users[0].PasswordSecret = "other" }, `secret "other" is missing`},
		{"BIOS on 4096-byte sectors", func(_ *request.Request, f *envscan.Facts) {
			f.HW.Firmware.Type, f.HW.Disk[0].SectorSize = "bios", 4096
		}, "BIOS, which cannot boot from"},
		{"UEFI without ESP", func(r *request.Request, _ *envscan.Facts) { dropPartition(r, "esp") }, "no EFI system partition"},
		{"BIOS without BIOS boot", func(r *request.Request, f *envscan.Facts) {
			f.HW.Firmware.Type = "bios"
			dropPartition(r, "bios")
		}, "no BIOS boot partition"},
		{"host name with a line break", func(r *request.Request, _ *envscan.Facts) { r.System.Hostname = "a\nb" }, "must be a host name"},
		{"kernel parameter with a quote", func(r *request.Request, _ *envscan.Facts) { r.System.Cmdline = []string{"a'b"} }, "must be one kernel parameter"},
		{"time zone that climbs", func(r *request.Request, _ *envscan.Facts) { r.System.Timezone = "../../etc/shadow" }, "must be a time zone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, facts := debian(t), machine("uefi", 512)
			tt.spoil(&req, &facts)
			_, err := plan.New(req, facts, []string{"password"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func dropPartition(r *request.Request, name string) {
	delete(r.Layout.Disk["main"].Content.Spec.(*layout.GPT).Partitions, name)
}

func TestReportsEverythingAtOnce(t *testing.T) {
	req, facts := debian(t), machine("uefi", 512)
	req.Payload.Arch = "arm64"
	facts.HW.Disk[0].ReadOnly = true
	_, err := plan.New(req, facts, nil)
	for _, want := range []string{"payload is for arm64", "read-only", `secret "password" is missing`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestAmbiguousDisk(t *testing.T) {
	req, facts := debian(t), machine("uefi", 512)
	facts.HW.Disk = append(facts.HW.Disk, facts.HW.Disk[0])
	facts.HW.Disk[1].Name = "vdb"
	_, err := plan.New(req, facts, []string{"password"})
	if !errors.Is(err, plan.ErrNoDisk) || !strings.Contains(err.Error(), "/dev/vdb") {
		t.Errorf("got %v", err)
	}
}

// A disk is known by what it is: the same disk under another name gives the
// same identifiers, another disk other ones.
func TestIdentifiersFollowTheDisk(t *testing.T) {
	facts := machine("uefi", 512)
	guid := func(f envscan.Facts, serial string) string {
		req := debian(t)
		req.Disks["main"] = request.DiskSelector{Serial: serial}
		p, err := plan.New(req, f, []string{"password"})
		if err != nil {
			t.Fatal(err)
		}
		return p.Storage.Disks[0].After.GUID.String() + p.Result.RootUUID
	}
	first := guid(facts, "QM0001")
	facts.HW.Disk[0].Name = "vdb"
	if guid(facts, "QM0001") != first {
		t.Error("renaming the disk changed its identifiers")
	}
	facts.HW.Disk[0].Serial = "QM0002"
	if guid(facts, "QM0002") == first {
		t.Error("another disk got the same identifiers")
	}
}

func TestPhasesAreInOrder(t *testing.T) {
	p, err := plan.New(debian(t), machine("uefi", 512), []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	order := event.Phases()
	last := 0
	for _, s := range p.Steps {
		i := slices.Index(order, s.Phase)
		if i < last {
			t.Errorf("step %q: phase %s comes after %s", s.Name, s.Phase, order[last])
		}
		last = i
	}
}

func TestNoSecretInThePlan(t *testing.T) {
	p, err := plan.New(debian(t), machine("uefi", 512), []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(doc, []byte(`"passwordSecret":"password"`)); n != 1 {
		t.Errorf("the plan names the secret %d times, once is expected", n)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 8 << 30: "8.0 GiB", 1<<20 - 1: "1.0 MiB"} {
		if got := plan.Bytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

// What could not be read is no empty disk.
func TestUnreadDisk(t *testing.T) {
	facts := envscan.Facts{}
	facts.HW.Disk = []envscan.Disk{{Name: "vda", Serial: "S1", Size: 8 << 30, SectorSize: 512}}
	l := layout.Layout{Disk: map[string]layout.Disk{"main": {Device: "/dev/vda"}}}
	if _, err := plan.SelectDisks(l, nil, facts); err != nil {
		t.Fatal(err)
	}
	facts.Scan.Gaps = []envscan.Gap{{Fact: "hw.disk[name=vda].content", Path: "/dev/vda", Why: "it did not answer in time"}}
	_, err := plan.SelectDisks(l, nil, facts)
	if err == nil || !strings.Contains(err.Error(), "what is on /dev/vda (serial S1") || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("%v", err)
	}
}

// The payload's initramfs is kept by the targets that would make the same.
func TestKeepsInitramfs(t *testing.T) {
	example := func(name string) func(*request.Request) {
		return func(r *request.Request) {
			doc, err := os.ReadFile("../../disk/layout/testdata/examples/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if r.Layout, err = layout.Parse(name, doc); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*request.Request)
		want   bool
	}{
		{"the default layout", func(*request.Request) {}, true},
		{"a payload without one", func(r *request.Request) { r.Payload.RootFS = "" }, false},
		{"another root file system", func(r *request.Request) { r.Payload.RootFS = "xfs" }, false},
		{"LUKS", example("luks.yaml"), false},
		{"to resume from swap", example("swap.yaml"), false},
		{"a name for a card", func(r *request.Request) {
			r.System.Network.NICs, _ = request.ParseNICNames("lan0=mac:" + macA)
		}, false},
		{"a file of the item", func(r *request.Request) {
			r.System.Files = []request.File{{Path: "/etc/modprobe.d/x.conf", Mode: 0o644, Owner: "root", Content: "x"}}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, facts := debian(t), machine("uefi", 512)
			req.Payload.RootFS = "ext4"
			facts.HW.NIC, facts.HW.Disk[0].Size = []envscan.NIC{card("eth0", "3", macA)}, 64<<30
			tt.change(&req)
			p, err := plan.New(req, facts, []string{"password", "luks-crypted", "luks-crypted-1"})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Action.Kind() == "initramfs" })
			if got := p.Steps[i].Action.(plan.Initramfs).Keep; got != tt.want {
				t.Errorf("keep: %v, want %v", got, tt.want)
			}
		})
	}
}
