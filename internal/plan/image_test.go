package plan_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// The steps of an image are those of an install, in their order, but for what
// only a machine knows.
func TestImageIsLikeAnInstall(t *testing.T) {
	req := debian(t)
	image, err := plan.NewImage(req, 2<<30, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(image, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "image.json", append(got, '\n'))
	installed, err := plan.New(req, machine("bios", 512), []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	names := func(p plan.Plan) (list []string) {
		for _, s := range p.Steps {
			if s.Phase == event.Inject || s.Phase == event.Boot {
				list = append(list, s.Name)
			}
		}
		return list
	}
	here, there := names(image), names(installed)
	for _, only := range here {
		known := slices.Contains(there, only) || strings.HasPrefix(only, "/etc/repart.d/") || strings.Contains(only, "vic-ssh-host-keys") || only == "/etc/systemd/network/10-vic.network"
		if !known {
			t.Errorf("only the image has %s", only)
		}
	}
	for _, only := range there {
		if !slices.Contains(here, only) && only != "SSH host keys" && only != "/etc/systemd/network/10-vic-0.network" {
			t.Errorf("only the install has %s", only)
		}
	}
}

func content(t *testing.T, p plan.Plan, path string) string {
	t.Helper()
	for _, s := range p.Steps {
		if f, ok := s.Action.(plan.WriteFile); ok && f.Path == path {
			return f.Content
		}
	}
	t.Fatalf("no step writes %s", path)
	return ""
}

// What is behind everything else grows, and nothing before it.
func TestImageGrows(t *testing.T) {
	req := debian(t)
	req.Layout = parsed(t, `
devices: {disk: {card: {type: disk, content: {type: gpt, partitions: {
  esp: {type: EF00, size: 100M, priority: 1, content: {type: filesystem, format: vfat, mountpoint: /boot/efi}},
  root: {size: 2G, priority: 2, content: {type: filesystem, format: ext4, mountpoint: /}},
  srv: {size: 100%, content: {type: filesystem, format: ext4, mountpoint: /srv, mountOptions: [noatime]}}}}}}}`)
	p, err := plan.NewImage(req, 4<<30, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	fstab := content(t, p, "/etc/fstab")
	if strings.Count(fstab, "x-systemd.growfs") != 1 || !strings.Contains(fstab, " /srv ext4 noatime,x-systemd.growfs 0 2\n") {
		t.Errorf("fstab:\n%s", fstab)
	}
	linux := "Type=0fc63daf-8483-4772-8e79-3d69d8477de4\n"
	if got := content(t, p, "/etc/repart.d/10-vic.conf"); got != fmt.Sprintf("[Partition]\n%sWeight=0\nSizeMaxBytes=%d\n", linux, 2<<30) {
		t.Errorf("the root has %s", got)
	}
	if got := content(t, p, "/etc/repart.d/11-vic.conf"); got != "[Partition]\n"+linux {
		t.Errorf("the last has %s", got)
	}
}

// A swap at the end cannot grow: nothing does.
func TestImageThatDoesNotGrow(t *testing.T) {
	req := debian(t)
	req.Layout = parsed(t, `
devices: {disk: {card: {type: disk, content: {type: gpt, partitions: {
  bios: {type: EF02, size: 1M},
  root: {size: 3G, priority: 2, content: {type: filesystem, format: ext4, mountpoint: /}},
  swap: {size: 100%, content: {type: swap}}}}}}}`)
	p, err := plan.NewImage(req, 4<<30, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if strings.Contains(s.Name, "repart.d") {
			t.Errorf("step %s", s.Name)
		}
	}
	if strings.Contains(content(t, p, "/etc/fstab"), "growfs") {
		t.Error("fstab has something that grows")
	}
	if !slices.ContainsFunc(p.Warnings, func(w string) bool {
		return strings.Contains(w, `nothing grows on a larger disk: partition "swap" is the last`)
	}) {
		t.Errorf("warnings: %q", p.Warnings)
	}
}

// The ESP is found also below a /boot of its own.
func TestESPBelowBoot(t *testing.T) {
	req := debian(t)
	req.Layout = parsed(t, `
devices: {disk: {card: {type: disk, content: {type: gpt, partitions: {
  esp: {type: EF00, size: 100M, priority: 1, content: {type: filesystem, format: vfat, mountpoint: /boot/efi}},
  boot: {size: 500M, priority: 2, content: {type: filesystem, format: ext4, mountpoint: /boot}},
  root: {size: 100%, content: {type: filesystem, format: ext4, mountpoint: /}}}}}}}`)
	p, err := plan.NewImage(req, 4<<30, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Steps, func(s plan.Step) bool { a, ok := s.Action.(plan.SystemdBoot); return ok && a.ESP == "/boot/efi" }) {
		t.Error("no step puts systemd-boot onto the ESP")
	}
}

func parsed(t *testing.T, doc string) layout.Layout {
	t.Helper()
	l, err := layout.Parse("test.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestImageOfNamedCards(t *testing.T) {
	req := debian(t)
	req.System.Network.NICs = []request.NICName{{Name: "lan0", MAC: "52:54:00:12:34:56"}, {Name: "wan0", Path: "pci-0000:00:03.0", Driver: "e1000"}}
	p, err := plan.NewImage(req, 2<<30, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/etc/systemd/network/10-vic-lan0.link": "[Match]\nPermanentMACAddress=52:54:00:12:34:56\n\n[Link]\nName=lan0\n",
		"/etc/systemd/network/10-vic-wan0.link": "[Match]\nPath=pci-0000:00:03.0\nDriver=e1000\n\n[Link]\nName=wan0\n",
	} {
		if got := content(t, p, path); !strings.HasPrefix(got, want) {
			t.Errorf("%s has %q", path, got)
		}
	}
}

// Another size, another content: other identifiers; the same: the same.
func TestImageIdentifiers(t *testing.T) {
	guid := func(size int64, change func(*request.Request)) string {
		req := debian(t)
		change(&req)
		p, err := plan.NewImage(req, size, []string{"password"})
		if err != nil {
			t.Fatal(err)
		}
		return p.Storage.Disks[0].After.GUID.String()
	}
	same := func(*request.Request) {}
	first := guid(2<<30, same)
	if again := guid(2<<30, same); again != first {
		t.Error("equal images have different identifiers")
	}
	if first == guid(3<<30, same) {
		t.Error("the size does not count")
	}
	if first == guid(2<<30, func(r *request.Request) { r.Payload.SHA256 = strings.Repeat("cd", 32) }) {
		t.Error("the content does not count")
	}
}

func TestImageRefuses(t *testing.T) {
	for want, change := range map[string]func(*request.Request, *int64){
		"the layout has 2 (a, b)": func(r *request.Request, _ *int64) {
			d := r.Layout.Disk["main"]
			r.Layout.Disk = map[string]layout.Disk{"a": d, "b": d}
		},
		"is known only on the machine itself, and an image is for any": func(r *request.Request, _ *int64) {
			r.System.Hostname = `m{{ env "hw.memory.total" }}`
		},
		"file /etc/x: 1:4: env.hw.nic": func(r *request.Request, _ *int64) {
			r.System.Files = []request.File{{Path: "/etc/x", Mode: 0o644, Owner: "root", Content: `{{ env "hw.nic.0.hwaddr" }}`}}
		},
		`secret "other" is missing`: func(r *request.Request, _ *int64) { r.System.Users[0].PasswordSecret = "other" },
		"the image (600.0 MiB) is too small: the root file system would hold": func(_ *request.Request, size *int64) { *size = 600 << 20 },
		"must be a host name": func(r *request.Request, _ *int64) { r.System.Hostname = "no host" },
		"neither an EFI system partition": func(r *request.Request, _ *int64) {
			r.Layout = parsed(t, `devices: {disk: {card: {type: disk, content: {type: gpt, partitions: {root: {size: 100%, content: {type: filesystem, format: ext4, mountpoint: /}}}}}}}`)
		},
	} {
		req, size := debian(t), int64(2<<30)
		change(&req, &size)
		if _, err := plan.NewImage(req, size, []string{"password"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// What an architecture answers is known, and a secret is only named.
func TestImageOfTemplates(t *testing.T) {
	req := debian(t)
	req.System.Hostname = `{{ env "hw.arch" }}-1`
	req.System.Requires = []request.Requirement{{Fact: "hw.firmware.type", OneOf: []string{"uefi"}}}
	req.System.Files = []request.File{{Path: "/etc/key", Mode: 0o600, Owner: "root", Content: `{{ secret "tls" }}`}}
	p, err := plan.NewImage(req, 2<<30, []string{"password", "tls"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "the machine that the image gets onto is not known") {
		t.Errorf("warnings: %q", p.Warnings)
	}
	if p.Result.Hostname != "amd64-1" {
		t.Errorf("hostname %s", p.Result.Hostname)
	}
	i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Name == "/etc/key" })
	if got := template.Secrets(p.Steps[i].Action.(plan.PutFile).Content); !slices.Equal(got, []string{"tls"}) {
		t.Errorf("secrets %v", got)
	}
	for _, s := range p.Steps {
		switch s.Action.(type) {
		case storage.Wipe, storage.Release, storage.CheckState:
			t.Errorf("step %s is about a disk that is there", s.Name)
		}
	}
}
