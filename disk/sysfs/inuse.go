package sysfs

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mount is a line of /proc/self/mountinfo, proc_pid_mountinfo(5).
type Mount struct {
	ID     string
	Dev    string // "8:1"; of some file systems a number of their own
	Root   string // what of the file system is mounted: a subvolume, a directory
	Target string
	// Options are the mount's own, such as ro or rw; the file system's may
	// differ.
	Options string
	Type    string
	Source  string
}

// Mounts reads the mount table, oldest first.
func (r Root) Mounts() ([]Mount, error) {
	f, err := os.Open(r.join("proc/self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	var list []Mount
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for {
		if !s.Scan() {
			return list, s.Err()
		}
		left, right, ok := strings.Cut(s.Text(), " - ")
		l, rest := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(rest) < 2 {
			return nil, fmt.Errorf("read mounts: unexpected line %q", s.Text())
		}
		list = append(list, Mount{ID: l[0], Dev: l[2], Root: unescape(l[3]), Target: unescape(l[4]), Options: l[5], Type: rest[0], Source: unescape(rest[1])})
	}
}

// unescape undoes the kernel's \040 for space, tab, newline and backslash.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace

// Partitions lists the kernel names of a disk's partitions.
func (r Root) Partitions(disk string) ([]string, error) {
	names, err := r.Names("sys/block", disk)
	if err != nil {
		return nil, fmt.Errorf("list partitions of %s: %w", disk, err)
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return !strings.HasPrefix(n, disk) || !r.exists("sys/block", disk, n, "partition")
	}), nil
}

// Node is the path of a device in /dev: the kernel writes ! for / in names.
func Node(name string) string { return "/dev/" + strings.ReplaceAll(name, "!", "/") }

// Use is who uses one device.
type Use struct {
	Mounts  []string // where it is mounted, oldest first
	Swap    bool
	Holders []string // kernel names of the devices made from it: dm-0, md0, loop3
}

// User is a device with who uses it.
type User struct {
	Name string // kernel name
	Use
}

// InUse says what holds a disk, a partition of it, or a device made from one:
// "/dev/sda1 mounted on /", "/dev/sda2 is swap", "/dev/sda3 held by dm-0
// (LVM)". The list is empty when nothing does.
func (r Root) InUse(disk string) ([]string, error) {
	users, err := r.Users(disk)
	return r.Sentences(users), err
}

// Sentences says who uses devices, for people; see InUse.
func (r Root) Sentences(users []User) []string {
	var list []string
	for _, u := range users {
		for _, target := range u.Mounts {
			list = append(list, Node(u.Name)+" mounted on "+target)
		}
		if u.Swap {
			list = append(list, Node(u.Name)+" is swap")
		}
		for _, h := range u.Holders {
			list = append(list, Node(u.Name)+" held by "+r.describe(h))
		}
	}
	return list
}

// Users lists a disk, its partitions, and everything that is made from them,
// with who uses each: a device comes after what it was made from.
func (r Root) Users(disk string) ([]User, error) {
	u := usage{root: r}
	if err := u.load(); err != nil {
		return nil, err
	}
	parts, err := r.Partitions(disk)
	if err != nil {
		return nil, err
	}
	if err := u.device(disk, filepath.Join("sys/block", disk)); err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err := u.device(p, filepath.Join("sys/block", disk, p)); err != nil {
			return nil, err
		}
	}
	return u.found, nil
}

// usage collects what holds devices.
type usage struct {
	root   Root
	mounts []Mount
	swaps  []string          // kernel names
	loops  map[string]string // backing file -> loop device
	seen   []string
	found  []User
}

func (u *usage) load() (err error) {
	if u.mounts, err = u.root.Mounts(); err != nil {
		return err
	}
	swaps, err := u.root.Swaps()
	if err != nil {
		return err
	}
	for _, s := range swaps {
		u.swaps = append(u.swaps, u.root.KernelName(s.Path))
	}
	u.loops, err = u.root.Loops()
	return err
}

// Loops are the loop devices that have a file, by its path, which may be that of
// a block device.
func (r Root) Loops() (map[string]string, error) {
	names, err := r.Names("sys/block")
	if err != nil {
		return nil, fmt.Errorf("list block devices: %w", err)
	}
	loops := map[string]string{}
	for _, n := range names {
		if !strings.HasPrefix(n, "loop") {
			continue
		}
		if file, err := r.Text("sys/block", n, "loop/backing_file"); err == nil { // it has none otherwise
			loops[file] = n
		}
	}
	return loops, nil
}

// device looks for users of one device, then of those made from it.
func (u *usage) device(name, dir string) error {
	if slices.Contains(u.seen, name) {
		return nil
	}
	u.seen = append(u.seen, name)
	dev, err := u.root.Text(dir, "dev")
	if err != nil {
		return fmt.Errorf("read device number of %s: %w", name, err)
	}
	user := User{Name: name}
	for _, m := range u.mounts {
		// btrfs has a device number of its own.
		if m.Dev == dev || strings.HasPrefix(m.Source, "/dev/") && u.root.KernelName(m.Source) == name {
			user.Mounts = append(user.Mounts, m.Target)
		}
	}
	user.Swap = slices.Contains(u.swaps, name)
	if user.Holders, err = u.root.Names(dir, "holders"); err != nil {
		return fmt.Errorf("list holders of %s: %w", name, err)
	}
	if loop := u.loops[Node(name)]; loop != "" {
		user.Holders = append(user.Holders, loop)
	}
	u.found = append(u.found, user)
	for _, h := range user.Holders {
		if err := u.held(h); err != nil {
			return err
		}
	}
	return nil
}

// held goes on with a device made from others, and its partitions: arrays and
// loop devices can have some.
func (u *usage) held(name string) error {
	if err := u.device(name, filepath.Join("sys/block", name)); err != nil {
		return err
	}
	parts, err := u.root.Partitions(name)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := u.device(p, filepath.Join("sys/block", name, p)); err != nil {
			return err
		}
	}
	return nil
}

// describe adds what kind of device a holder is.
func (r Root) describe(name string) string {
	id, err := r.Text("sys/block", name, "dm/uuid")
	if err != nil {
		return name
	}
	kind, _, _ := strings.Cut(id, "-")
	return name + " (" + or(kind, "dm") + ")"
}
