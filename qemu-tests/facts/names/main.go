// Command names is the init of a machine in which udev itself judges package
// netname. For each udev (a folder with its udevadm and libraries, such as
// /udev/13) and each scheme that it knows it runs udevadm test-builtin net_id for
// every network interface, and compares what is printed with its own names.
//
//	udev 257 v255 enp0s4f0 ethernet eno1 ens4f0 enp0s4f0 enx525400000001
//	DIFFERENT udev 257 v255 eth3: ...
//	compared 1234 properties of 12 interfaces
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/envscan/netname"
	"github.com/victorinix/vic/internal/kmod"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("BROKEN", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("power off:", err)
	}
	select {}
}

func run() error {
	if err := mount(""); err != nil {
		return err
	}
	if err := load(); err != nil {
		return err
	}
	want, err := strconv.Atoi(argument("names.interfaces"))
	if err != nil {
		return fmt.Errorf("read names.interfaces: %w", err)
	}
	links, err := interfaces(want)
	if err != nil {
		return err
	}
	roots, err := filepath.Glob("/udev/*")
	if err != nil || len(roots) == 0 {
		return fmt.Errorf("find udev: %v in /udev, %w", roots, err)
	}
	compared := 0
	for _, root := range roots {
		n, err := judge(root, links)
		if err != nil {
			return err
		}
		compared += n
	}
	fmt.Printf("compared %d properties of %d interfaces\n", compared, len(links))
	return nil
}

// argument is the value of a word of the kernel's command line.
func argument(key string) string {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return ""
	}
	for _, word := range strings.Fields(string(line)) {
		if v, ok := strings.CutPrefix(word, key+"="); ok {
			return v
		}
	}
	return ""
}

func mount(root string) error {
	for dir, fs := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/run": "tmpfs"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(fs, root+dir, fs, 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", root+dir, err)
		}
	}
	return nil
}

// load loads the modules of the command line.
func load() error {
	dirs, err := filepath.Glob("/usr/lib/modules/*")
	if err != nil || len(dirs) != 1 {
		return fmt.Errorf("find modules: %v, %v", dirs, err)
	}
	tree, err := kmod.Open(dirs[0])
	if err != nil {
		return err
	}
	l := &kmod.Loader{Insert: kmod.Finit}
	_, err = l.Load(context.Background(), tree, strings.Split(argument("names.modules"), ",")...)
	return err
}

// interfaces waits until there are as many as the machine should have, besides
// the loopback interface.
func interfaces(want int) ([]string, error) {
	var links []string
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/net/*/device")
		if err != nil {
			return nil, err
		}
		links = links[:0]
		for _, n := range names {
			links = append(links, filepath.Base(filepath.Dir(n)))
		}
		if len(links) >= want {
			return links, nil
		}
	}
	return nil, fmt.Errorf("wait for %d interfaces: there are %v", want, links)
}

// judge compares all interfaces and schemes under one udev.
func judge(root string, links []string) (compared int, err error) {
	if err := mount(root); err != nil {
		return 0, err
	}
	release, err := os.ReadFile(root + "/version")
	if err != nil {
		return 0, err
	}
	version := strings.TrimSpace(string(release))
	newest, _, err := netname.OfSystemd(version)
	if err != nil {
		return 0, err
	}
	for _, s := range netname.Schemes() {
		for _, link := range links {
			n, err := compare(root, version, s, link)
			if err != nil {
				return 0, fmt.Errorf("udev %s, scheme %s, %s: %w", version, s.Name, link, err)
			}
			compared += n
		}
		if s.Name == newest.Name {
			break
		}
	}
	return compared, nil
}

func compare(root, version string, s netname.Scheme, link string) (compared int, err error) {
	theirs, err := ask(root, s.Name, link)
	if err != nil {
		return 0, err
	}
	d, err := netname.Read("/", link)
	if err != nil {
		return 0, err
	}
	n := netname.Of(d, s)
	ours := []string{n.Onboard, n.Slot, n.Path, n.MAC}
	fmt.Printf("udev %s %s %s %s %q\n", version, s.Name, link, d.Path, ours)
	for i, key := range []string{"ONBOARD", "SLOT", "PATH", "MAC"} {
		if theirs["ID_NET_NAME_"+key] != ours[i] {
			fmt.Printf("DIFFERENT udev %s %s %s at %s: ID_NET_NAME_%s is %q, ours is %q\n", version, s.Name, link, d.Path, key, theirs["ID_NET_NAME_"+key], ours[i])
		}
		if ours[i] != "" {
			compared++
		}
	}
	return compared, nil
}

// ask runs udevadm below root and returns the properties that it prints.
func ask(root, scheme, link string) (map[string]string, error) {
	cmd := exec.Command("/udevadm", "test-builtin", "net_id", "/sys/class/net/"+link)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	cmd.Dir, cmd.Env = "/", []string{"NET_NAMING_SCHEME=" + scheme}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// 257 fails where no property is set: the builtin's own code.
	err := cmd.Run()
	if !strings.Contains(stderr.String(), "interface naming scheme '"+scheme+"'") {
		return nil, fmt.Errorf("run udevadm test-builtin: %v: it does not speak of the scheme: %s%s", err, stdout.String(), stderr.String())
	}
	props := map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			props[k] = v
		}
	}
	if slices.Contains([]string{"", scheme}, props["ID_NET_NAMING_SCHEME"]) {
		return props, nil
	}
	return nil, fmt.Errorf("run udevadm test-builtin: it followed %s", props["ID_NET_NAMING_SCHEME"])
}
