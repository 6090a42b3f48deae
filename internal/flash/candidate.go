package flash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/sysfs"
)

// Candidate is a disk of this machine that could be written to, and what speaks
// against it.
type Candidate struct {
	Device     string `json:"device"` // /dev/sdb
	Model      string `json:"model"`
	Serial     string `json:"serial"`
	Size       int64  `json:"size"`       // bytes; 0: no medium
	SectorSize int    `json:"sectorSize"` // bytes
	Transport  string `json:"transport"`  // usb, mmc, nvme, sata, ...
	// Removable: a person can take it out, as the kernel says; also an SD card.
	Removable bool `json:"removable"`
	ReadOnly  bool `json:"readOnly"`
	// System says what of the running system is on it; empty when nothing is.
	System []string `json:"system"`
	// InUse says who else uses it: mounts, swap, what is made from it.
	InUse []string `json:"inUse"`
	// Mounts are where it is mounted, when that is all that uses it.
	Mounts []string `json:"mounts"`

	identity Identity
}

// Identity tells whether a device is still the one that was chosen.
type Identity struct {
	Dev, Serial, WWN, Model string
	Size                    int64
	SectorSize              int
	// Sequence is counted up by the kernel with every medium that is put in
	// (diskseq, Linux 5.15); 0 before.
	Sequence int64
}

// List finds the disks of this machine, those that are removable first.
func List(root sysfs.Root) ([]Candidate, error) {
	names, err := root.Disks()
	if err != nil {
		return nil, err
	}
	var list []Candidate
	for _, name := range names {
		c, err := inspect(root, name)
		if errors.Is(err, os.ErrNotExist) { // unplugged in between
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b Candidate) int {
		if a.Removable == b.Removable {
			return 0
		}
		if a.Removable {
			return -1
		}
		return 1
	})
	return list, nil
}

// ErrNotWhole is wrapped by the error about a partition.
var ErrNotWhole = errors.New("it is a partition")

// Find inspects the device of a path, which may be a link such as those in
// /dev/disk/by-id.
func Find(path string) (Candidate, error) {
	const root = sysfs.Root("/")
	name, err := disk.KernelName(path)
	if err != nil {
		return Candidate{}, err
	}
	if whole := root.Whole(name); whole != name {
		return Candidate{}, fmt.Errorf("%s: %w of %s", path, ErrNotWhole, sysfs.Node(whole))
	}
	for _, made := range []string{"dm-", "md", "zram", "ram", "sr"} {
		if strings.HasPrefix(name, made) {
			return Candidate{}, fmt.Errorf("%s: it is no disk, but made from others or from memory", path)
		}
	}
	c, err := inspect(root, name)
	if err != nil || len(c.InUse) > 0 {
		return c, err
	}
	// Users that leave no other trace: other mount name spaces, ZFS, a member of a
	// btrfs. Without root nobody is asked: opening it fails later.
	held, err := disk.InUse(string(root), name)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	c.InUse = held
	return c, nil
}

func inspect(root sysfs.Root, name string) (Candidate, error) {
	d, err := root.Disk(name)
	if err != nil {
		return Candidate{}, err
	}
	users, err := root.Users(name)
	if err != nil {
		return Candidate{}, err
	}
	vital, err := systemMounts(root)
	if err != nil {
		return Candidate{}, err
	}
	c := Candidate{
		Device: sysfs.Node(name), Model: strings.Join(strings.Fields(d.Model), " "), Serial: d.Serial, Size: d.Size, SectorSize: d.SectorSize,
		Transport: d.Transport, Removable: removable(root, d), ReadOnly: d.ReadOnly,
		InUse: root.Sentences(users), System: vital.of(users), identity: identify(root, d),
	}
	for _, u := range users {
		if u.Swap || len(u.Holders) > 0 {
			c.Mounts = nil
			break
		}
		c.Mounts = append(c.Mounts, u.Mounts...)
	}
	return c, nil
}

// removable: the attribute is about drives with media; an SD card in a slot of
// its own is a device without it, unlike an eMMC of type MMC.
func removable(root sysfs.Root, d sysfs.Disk) bool {
	if d.Removable {
		return true
	}
	kind, err := root.Text("sys/block", d.Name, "device/type")
	return err == nil && strings.HasPrefix(d.Name, "mmcblk") && kind == "SD"
}

func identify(root sysfs.Root, d sysfs.Disk) Identity {
	sequence, err := root.Number("sys/block", d.Name, "diskseq")
	if err != nil {
		sequence = 0
	}
	return Identity{d.Dev, d.Serial, d.WWN, d.Model, d.Size, d.SectorSize, sequence}
}

// ErrRefused is wrapped by errors about a device that may not be written to.
var ErrRefused = errors.New("refused")

// Consent is what a person allows.
type Consent struct {
	Umount bool     // removable devices are unmounted
	Mean   []string // devices that are not removable and are meant, as they were named
}

// Refusal is why a device is refused, and what to do about it.
type Refusal struct {
	Device, Why, Advice string
}

func (r *Refusal) Error() string { return r.Device + ": " + r.Why }

// Hint is what to do about it.
func (r *Refusal) Hint() string { return r.Advice }

// Refuse says why a device must not be written to; nil when it may.
func (c Candidate) Refuse(allow Consent) error {
	refuse := func(advice, format string, args ...any) error {
		return &Refusal{c.Device, fmt.Sprintf(format, args...), advice}
	}
	switch {
	case len(c.System) > 0:
		return refuse("`vic install` replaces the system that runs", "this system runs from it, or needs it (%s)", strings.Join(c.System, "; "))
	case c.Size == 0:
		return refuse("put a card in", "there is no medium in it")
	case c.ReadOnly:
		return refuse("look for the switch at the side of the card", "it is write-protected")
	case len(c.InUse) > 0 && allow.Umount && c.Removable && len(c.Mounts) > 0:
	case len(c.InUse) > 0:
		return refuse(c.useAdvice(), "it is in use: %s", strings.Join(c.InUse, "; "))
	}
	if !c.Removable && !slices.ContainsFunc(allow.Mean, c.Is) {
		return refuse("if you are sure: --yes-i-mean "+c.Device, "it is not removable (%s)", c.describe())
	}
	return nil
}

func (c Candidate) useAdvice() string {
	switch {
	case len(c.Mounts) > 0 && c.Removable:
		return "--umount unmounts it"
	case len(c.Mounts) > 0:
		return "unmount it"
	}
	return "end what uses it, or name another device; nothing was written"
}

// Is says whether a path means this device.
func (c Candidate) Is(path string) bool {
	name, err := disk.KernelName(path)
	return err == nil && sysfs.Node(name) == c.Device
}

// Writable says whether this process may write to the device.
func (c Candidate) Writable() bool { return unix.Access(c.Device, unix.W_OK) == nil }

func (c Candidate) describe() string {
	var words []string
	for _, w := range []string{c.Model, Bytes(c.Size), c.Transport} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, ", ")
}

// String is the device for people.
func (c Candidate) String() string { return fmt.Sprintf("%s (%s)", c.Device, c.describe()) }

// Target opens the device, unmounted before if that is allowed, and only if it
// still is the one that was inspected.
func (c Candidate) Target(allow Consent) Target {
	return Target{Name: c.Device, Open: func() (Device, error) {
		if err := c.same(); err != nil {
			return nil, err
		}
		if allow.Umount {
			for _, at := range slices.Backward(c.Mounts) {
				if err := disk.Unmount(at); err != nil {
					return nil, err
				}
			}
		}
		d, err := OpenBlock(c.Device)
		if err != nil {
			return nil, err
		}
		// Now nobody can put another in its place unnoticed.
		if err := errors.Join(c.same(), c.sameOpen(d)); err != nil {
			return nil, errors.Join(err, d.Close())
		}
		return d, nil
	}}
}

// ErrAnother: the device is not the one that was chosen.
var ErrAnother = errors.New("it is another device than the one that was chosen")

func (c Candidate) same() error {
	const root = sysfs.Root("/")
	d, err := root.Disk(strings.ReplaceAll(strings.TrimPrefix(c.Device, "/dev/"), "/", "!"))
	if err != nil {
		return fmt.Errorf("%s: %w", c.Device, err)
	}
	if now := identify(root, d); now != c.identity {
		return fmt.Errorf("%s: %w: %+v, was %+v", c.Device, ErrAnother, now, c.identity)
	}
	return nil
}

// sameOpen: the node that was opened is of the device that was inspected.
func (c Candidate) sameOpen(d Device) error {
	h, ok := d.(*hostDevice)
	if !ok {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(h.file.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", c.Device, err)
	}
	if dev := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)); dev != c.identity.Dev || h.size != c.identity.Size {
		return fmt.Errorf("%s: %w: it opens as %s with %d bytes", c.Device, ErrAnother, dev, h.size)
	}
	return nil
}

// FileTarget is a file that is made, with holes; size 0: as large as the image. A
// private one can be read by its owner alone.
func FileTarget(path string, size int64, private bool) Target {
	return Target{Name: filepath.Clean(path), Fresh: true, Open: func() (Device, error) { return OpenFile(path, size, private) }}
}
