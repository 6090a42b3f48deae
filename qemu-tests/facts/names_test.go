package facts

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// cards is the machine: on the root bus, behind ports, behind a bridge whose slots
// have numbers, with several functions, with an index of the firmware (SMBIOS type
// 41), on USB.
var cards = []string{
	"virtio-net-pci,id=plain,addr=0x3,mac=52:54:00:00:00:03,romfile=",
	"e1000e,addr=0x4.0,multifunction=on,mac=52:54:00:00:00:40,romfile=",
	"e1000e,addr=0x4.1,mac=52:54:00:00:00:41,romfile=",
	"virtio-net-pci,id=onboard,addr=0x5,mac=52:54:00:00:00:05,romfile=",
	"pcie-root-port,id=port1,addr=0x8.0,multifunction=on,chassis=1,slot=11",
	"pcie-root-port,id=port2,addr=0x8.1,chassis=2,slot=12",
	"pcie-root-port,id=port3,addr=0x8.2,chassis=3,slot=13",
	"virtio-net-pci,bus=port1,mac=52:54:00:00:01:00,romfile=",
	"e1000e,bus=port2,addr=0x0.0,multifunction=on,mac=52:54:00:00:02:00,romfile=",
	"e1000e,bus=port2,addr=0x0.1,mac=52:54:00:00:02:01,romfile=",
	"pcie-pci-bridge,id=bridge,bus=port3",
	"e1000,bus=bridge,addr=0x1,mac=52:54:00:00:03:01,romfile=",
	"e1000,bus=bridge,addr=0x2.0,multifunction=on,mac=52:54:00:00:03:20,romfile=",
	"e1000,bus=bridge,addr=0x2.1,mac=52:54:00:00:03:21,romfile=",
	"qemu-xhci,id=usb,addr=0x9",
	"usb-net,bus=usb.0,port=1,mac=52:54:00:00:09:01",
}

// radios are those that the kernel simulates if not told otherwise.
const radios = 2

var modules = []string{"virtio_pci", "virtio_net", "e1000", "e1000e", "xhci_pci", "cdc_ether", "cdc_subset", "rndis_host", "mac80211_hwsim"}

// Every name of every scheme is what udev of Debian 12 and of Debian 13 say.
func TestNamesAgreeWithUdev(t *testing.T) {
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	dir := t.TempDir()
	kernel, tree, release := lab.Kernel(t, "generic")
	files, _, err := initramfs.ModuleFiles(initramfs.Config{Modules: os.DirFS(tree), Release: release, Sets: modules})
	if err != nil {
		t.Fatal(err)
	}
	for suite, release := range map[string]string{"bookworm": "12", "trixie": "13"} {
		files = append(files, udevFiles(ctx, t, suite, "udev/"+release)...)
	}
	files = append(files, initramfs.Regular("init", 0o755, guest(t)), initramfs.CharDevice("dev/console", 0o600, 5, 1))
	initrd := filepath.Join(dir, "initrd")
	write(t, initrd, files)

	out := boot(ctx, t, kernel, initrd)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "DIFFERENT ") || strings.HasPrefix(line, "BROKEN ") {
			t.Error(strings.TrimSpace(line))
		}
	}
	covers(t, out)
}

// What no virtual machine here has (SR-IOV, device trees, System z, Xen, ...) is in
// trees that the tests of netname write, and both udevs are asked about those too.
func TestNamesOnTreesAgreeWithUdev(t *testing.T) {
	lab.Need(t)
	tooltest.Root(t)
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range udevFiles(t.Context(), t, suite, "") {
				b, err := io.ReadAll(io.NewSectionReader(f.Data, 0, f.Size))
				to := filepath.Join(dir, f.Path)
				if err == nil {
					err = os.MkdirAll(filepath.Dir(to), 0o755)
				}
				if err == nil {
					err = os.WriteFile(to, b, 0o755)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^TestUdevAgrees$", "github.com/victorinix/vic/envscan/netname")
			cmd.Env = append(os.Environ(), "VIC_TEST_UDEV="+dir)
			out, err := cmd.CombinedOutput()
			release := map[string]string{"bookworm": "udev 252", "trixie": "udev 257"}[suite]
			if err != nil || !strings.Contains(string(out), release) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// covers checks that the machine showed what it was made for: otherwise the
// comparison says little.
func covers(t *testing.T, out string) {
	t.Helper()
	for what, pattern := range map[string]string{
		"Debian 12":              `udev 252\S* v252 `,
		"Debian 13":              `udev 257\S* v257 `,
		"an index of SMBIOS":     `v257 .*"eno3"`,
		"a slot":                 `v257 .*"ens[0-9]+"`,
		"a slot with functions":  `v257 .*"ens[0-9]+f1"`,
		"functions":              `v257 .*"enp0s4f0"`,
		"a slot behind a bridge": `v251 .*"ens[0-9]+f0" "enp[0-9]+s2f0"`,
		"USB":                    `v257 .*"enp0s9u1[ci0-9]*"`,
		"hwsim":                  `v257 wlan0 .*"wlx02`,
	} {
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("the machine has nothing with %s (%s)", what, pattern)
		}
	}
	m := regexp.MustCompile(`compared (\d+) properties of (\d+) interfaces`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("the comparison has not ended:\n%s", out)
	}
	if n, err := strconv.Atoi(m[1]); err != nil || n < 500 {
		t.Errorf("%s: too few", m[0])
	}
	t.Log(m[0])
	if t.Failed() {
		t.Log(out)
	}
}

func boot(ctx context.Context, t *testing.T, kernel, initrd string) string {
	t.Helper()
	var extra []string
	interfaces := radios
	for _, c := range cards {
		if strings.Contains(c, "mac=") {
			interfaces++
		}
		extra = append(extra, "-device", c)
	}
	extra = append(extra, "-smbios", "type=41,designation=Onboard LAN,instance=3,kind=ethernet,pcidev=onboard")
	m := vm.Start(t, vm.Config{
		Name: "names", MemoryMiB: 512, Kernel: kernel, Initrd: []string{initrd}, NoReboot: true, Extra: extra,
		Cmdline: fmt.Sprintf("console=ttyS0 quiet loglevel=1 names.modules=%s names.interfaces=%d", strings.Join(modules, ","), interfaces),
	})
	if err := m.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, m.ConsoleTail(40))
	}
	return strings.ReplaceAll(m.Console(), "\r", "")
}

// guest is the init, compiled.
func guest(t *testing.T) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "names")
	cmd := exec.Command("go", "build", "-o", out, "./names")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS=linux")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build names: %v\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, name string, files []initramfs.File) {
	t.Helper()
	var b bytes.Buffer
	if err := initramfs.WriteSegment(&b, files, builder.DefaultTime); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// packages unpacks packages of a suite and what they need.
func packages(ctx context.Context, t *testing.T, suite string, want func(deb.Package) bool, names ...string) (*deb.Tree, []deb.Package) {
	t.Helper()
	archive := lab.Archive(ctx, t, suite)
	all, err := archive.Resolve(ctx, deb.Request{Packages: names})
	if err != nil {
		t.Fatal(err)
	}
	var chosen []deb.Package
	for _, p := range all {
		if want(p) {
			chosen = append(chosen, p)
		}
	}
	paths, err := archive.Fetch(ctx, chosen)
	if err != nil {
		t.Fatal(err)
	}
	tree := deb.NewTree()
	tree.MergeUsr(builder.DefaultTime)
	if err := tree.AddDebs(ctx, paths, chosen, nil); err != nil {
		t.Fatal(err)
	}
	return tree, chosen
}

// udevFiles are udevadm of a suite and the libraries that it is linked with,
// below dir, and its version.
func udevFiles(ctx context.Context, t *testing.T, suite, dir string) []initramfs.File {
	t.Helper()
	library := func(p deb.Package) bool {
		return strings.HasPrefix(p.Name, "lib") || p.Name == "zlib1g" || p.Name == "udev"
	}
	tree, pkgs := packages(ctx, t, suite, library, "udev")
	var files []initramfs.File
	for _, p := range pkgs {
		if p.Name == "udev" {
			files = append(files, initramfs.Regular(dir+"/version", 0o644, []byte(p.Version)))
		}
	}
	const libraries = "usr/lib/x86_64-linux-gnu"
	seen := map[string]bool{}
	var add func(from, to string)
	add = func(from, to string) {
		if seen[to] {
			return
		}
		seen[to] = true
		at, _, err := tree.Resolve(from)
		if err != nil {
			t.Fatal(err)
		}
		b, err := fs.ReadFile(tree.FS(), at)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, initramfs.Regular(dir+"/"+to, 0o755, b))
		for _, need := range needed(t, b) {
			lib := libraries + "/" + need
			if _, ok := tree.Lookup(libraries + "/systemd/" + need); ok {
				lib = libraries + "/systemd/" + need
			}
			add(lib, lib)
		}
	}
	add("usr/bin/udevadm", "udevadm")
	add(libraries+"/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2")
	return files
}

func needed(t *testing.T, b []byte) []string {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	return libs
}
