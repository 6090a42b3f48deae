package plan_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

func piLayout(t *testing.T) layout.Layout {
	t.Helper()
	doc, err := images.Layout(images.RaspberryPiLayout, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, string(doc))
}

func onBoard(t *testing.T) request.Request {
	t.Helper()
	req := debian(t)
	req.Layout, req.Payload.Arch = piLayout(t), "arm64"
	req.System.Cmdline = []string{"quiet"}
	req.System.Board = &request.Board{Name: "pi4", Console: "ttyS1,115200", Config: []string{"gpu_mem=16"}, Overlays: []string{"disable-bt"}}
	return req
}

// A board's firmware reads config.txt and cmdline.txt, and the hooks that write them
// anew are told the same.
func TestBoard(t *testing.T) {
	req := onBoard(t)
	p, err := plan.NewImage(req, 4<<30, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	root := "UUID=" + p.Result.RootUUID
	for path, want := range map[string]string{
		"/boot/firmware/cmdline.txt":         "console=ttyS1,115200 console=tty0 root=" + root + " rw fsck.repair=yes net.ifnames=0 rootwait quiet\n",
		"/etc/default/raspi-firmware":        "CMA=0\nROOTPART='" + root + "'\nCONSOLES='ttyS1,115200 tty0'\n",
		"/etc/default/raspi-firmware-custom": "dtoverlay=disable-bt\ngpu_mem=16\n",
		"/etc/default/raspi-extra-cmdline":   "quiet\n",
	} {
		if got := content(t, p, path); got != want {
			t.Errorf("%s:\n%swant\n%s", path, got, want)
		}
	}
	config := content(t, p, "/boot/firmware/config.txt")
	if release := req.Payload.Kernel; !strings.HasSuffix(config, "\nkernel=vmlinuz-"+release+"\ninitramfs initrd.img-"+release+"\ndtoverlay=disable-bt\ngpu_mem=16\n") {
		t.Errorf("config.txt:\n%s", config)
	}
	if fstab := content(t, p, "/etc/fstab"); !strings.Contains(fstab, "x-systemd.growfs") {
		t.Errorf("the root does not grow:\n%s", fstab)
	}
	for _, s := range p.Steps {
		switch s.Action.(type) {
		case plan.SystemdBoot, plan.GRUB:
			t.Errorf("step %s: the board has no use for it", s.Name)
		}
		if strings.HasPrefix(s.Name, "/etc/kernel/") || strings.HasPrefix(s.Name, "/etc/repart.d/") {
			t.Errorf("step %s", s.Name)
		}
	}
	for _, w := range p.Warnings {
		if strings.Contains(w, "BIOS") || strings.Contains(w, "grows") {
			t.Errorf("warning: %s", w)
		}
	}
	script := exec.Command("sh", "-n")
	script.Stdin = strings.NewReader(content(t, p, "/usr/local/lib/vic/grow-partition"))
	if out, err := script.CombinedOutput(); err != nil {
		t.Errorf("grow-partition: %v\n%s", err, out)
	}
}

func TestBoardRefuses(t *testing.T) {
	if _, err := plan.New(onBoard(t), machine("uefi", 512), []string{"password"}); err == nil || !strings.Contains(err.Error(), "flashed onto its card, not installed") {
		t.Errorf("installed: %v", err)
	}
	for name, doc := range map[string]string{
		"none": `devices: {disk: {card: {type: disk, content: {type: table, format: msdos, partitions: [{start: 4MiB, content: {type: filesystem, format: ext4, mountpoint: /}}]}}}}`,
		"second": `devices: {disk: {card: {type: disk, content: {type: table, format: msdos, partitions: [
			{start: 4MiB, end: 3GiB, content: {type: filesystem, format: ext4, mountpoint: /}},
			{start: 3GiB, content: {type: filesystem, format: vfat, mountpoint: /boot/firmware}}]}}}}`,
	} {
		req := onBoard(t)
		req.Layout = parsed(t, doc)
		if _, err := plan.NewImage(req, 4<<30, []string{"password"}); err == nil || !strings.Contains(err.Error(), "no vfat mounted at /boot/firmware on its first partition") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
