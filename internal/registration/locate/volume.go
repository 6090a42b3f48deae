// Package locate finds again what a registration was made on: a disk by its
// partition table, a volume by what it holds, a file by its file system. Names
// such as /dev/sda2 or /boot/efi are only where it looks first: after a reboot,
// or in vic's RAM system, they are other ones.
package locate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
)

// ErrNotFound is wrapped when nothing on this machine is what was looked for.
var ErrNotFound = errors.New("it is not on this machine, or not in reach")

// Volume is a block device by what it holds.
type Volume struct {
	// Device is where it was seen last: /dev/sda2, /dev/mapper/vg-root.
	Device string `json:"device"`
	Type   string `json:"type"` // as blkid: ext4
	UUID   string `json:"uuid"`
	// SubUUID is the device's own, in a file system over several.
	SubUUID string `json:"subUUID,omitempty"`
}

func (v Volume) String() string {
	if v.UUID == "" {
		return v.Device
	}
	return fmt.Sprintf("%s (%s %s)", v.Device, v.Type, v.UUID)
}

// OfDevice reads what a device holds. One that holds nothing, or several
// things, has no UUID to be found by.
func OfDevice(device string) (Volume, error) {
	list, err := Contents(device)
	if err != nil {
		return Volume{}, err
	}
	if len(list) != 1 || list[0].UUID == "" {
		return Volume{Device: device}, nil
	}
	return Volume{device, list[0].Type, list[0].UUID, list[0].SubUUID}, nil
}

// Contents is what the bytes of a device say that it holds.
func Contents(device string) ([]probe.Result, error) {
	d, err := disk.Open(device, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	list, err := probe.Probe(d, d.Size())
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("read what %s holds: %w", device, err)
	}
	return list, nil
}

// Find returns where the volume is now. Two that are alike, such as a copy of a
// disk, are an error, unless one has the name that it had.
func (v Volume) Find() (string, error) {
	if v.UUID == "" {
		return "", fmt.Errorf("find %s: it has no UUID", v.Device)
	}
	if ok, err := v.is(v.Device); err == nil && ok {
		return v.Device, nil
	}
	devices, err := blockDevices()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", v, err)
	}
	var found []string
	for _, d := range devices {
		if ok, err := v.is(d); err == nil && ok { // one that cannot be read is not it
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("find %s: %w", v, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("find %s: there are several: %s", v, strings.Join(found, ", "))
}

func (v Volume) is(device string) (bool, error) {
	list, err := Contents(device)
	return slices.ContainsFunc(list, func(r probe.Result) bool {
		return r.Type == v.Type && r.UUID == v.UUID && r.SubUUID == v.SubUUID
	}), err
}

// blockDevices are all block devices that have a size: disks, partitions, and
// what is made from them. What something is made from comes after it: of a
// volume on one mirror of an array, the array is meant.
func blockDevices() ([]string, error) {
	root := sysfs.Root("/")
	names, err := root.Names("sys/class/block")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, n := range names {
		size, err := root.Number("sys/class/block", n, "size")
		if err != nil || size == 0 {
			continue // a drive without a medium, a loop device without a file
		}
		holders, err := root.Names("sys/class/block", n, "holders")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(holders) == 0 {
			list = append(list, sysfs.Node(n))
		}
	}
	return list, nil
}
