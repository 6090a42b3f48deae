// Package storage computes the steps that bring disks into the state that a
// layout describes, and what the installed system has to know about them.
//
// It is pure: it sees the disks as they were found (State) and prints, compares
// and hands over values; internal/agent/storage executes them.
//
//	Layout + []State + seed --New--> Plan{Steps, Mounts, Unmounts, Boot}
//
//	release, shrink, wipe, write table, grow        partition
//	arrays, LUKS, LVM, file systems, finish table   format
//	swapon, mount                                   copy
//	unmount, swapoff, close                         finish
//
// Interruption: a table is first written with the types of partitions whose
// content is still to be made replaced by TypeUnfinished, which nothing mounts
// or boots from; the last step of the format phase writes it with their own. So
// the disk alone tells whether what is in a partition was finished.
package storage

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// TypeUnfinished is the type of a partition while its content is being made. In
// an MBR it is UnfinishedMBR.
var TypeUnfinished = uuid.MustParse("76696300-756e-4669-a973-686564000001")

// UnfinishedMBR is 0xda, "non-FS data".
const UnfinishedMBR byte = 0xda

// Disk is a disk by identity. Device is the path it had when the facts were
// scanned; the agent finds the disk again by the rest, and reads the identity
// once more immediately before it writes.
type Disk struct {
	Device     string `json:"device"`
	Path       string `json:"path"` // bus path, in the style of udev's ID_PATH
	Serial     string `json:"serial,omitempty"`
	WWN        string `json:"wwn,omitempty"`
	Model      string `json:"model,omitempty"`
	Size       int64  `json:"size"`       // bytes
	SectorSize int    `json:"sectorSize"` // logical, bytes
}

// State is a disk with what is on it now.
type State struct {
	Disk
	// Table is nil when there is none. Its entries have no content.
	Table *layout.Table `json:"table,omitempty"`
	// Found is what the bytes of the disk and of its partitions say they are.
	Found []Found `json:"found,omitempty"`
}

// Found is a signature.
type Found struct {
	Partition int    `json:"partition"`       // 0: the whole disk
	Type      string `json:"type"`            // as blkid: ext4, crypto_LUKS, LVM2_member, ...
	UUID      string `json:"uuid,omitempty"`  // of the file system, container or array
	Label     string `json:"label,omitempty"` // of an array: its name
	// Size is how much of the partition it takes, and MinSize a careful estimate
	// of the least that its data needs, in bytes; 0: not known.
	Size    int64 `json:"size,omitempty"`
	MinSize int64 `json:"minSize,omitempty"`
}

// Config is what a plan is computed from.
type Config struct {
	Layout layout.Layout
	// Disks are those of the machine that the layout means, by its names.
	Disks map[string]State
	// Seed is what all identifiers derive from that the layout does not give.
	Seed uuid.UUID
	// Absent are the names of disks that are not there. What stands on the others
	// can be mounted when the absent ones hold only members of arrays; nothing
	// can be made.
	Absent []string
	// Anew makes everything that is not kept, whatever is there: an install.
	// Otherwise what is already as the layout says stays as it is, with its
	// data: "vic disk format".
	Anew bool
}

// Plan is what will happen to the disks, in order.
type Plan struct {
	Disks []DiskPlan `json:"disks"` // by name
	// Create partitions and formats; Mount mounts everything below the target's
	// root, and turns swap on; Unmount undoes Mount, and closes everything.
	Create  []Step `json:"create"`
	Mount   []Step `json:"mount"`
	Unmount []Step `json:"unmount"`
	// Secrets are the names of the secrets that the steps use.
	Secrets []KeyFile `json:"secrets,omitempty"`
	// Programs that the steps run: mkfs.ext4, cryptsetup, ....
	Programs []string `json:"programs,omitempty"`
	// Filesystems are those that are mounted, parents before children.
	Filesystems []Filesystem `json:"filesystems,omitempty"`
	Boot        Boot         `json:"boot"`
}

// Filesystem is one that is mounted in the system that the disks are for.
type Filesystem struct {
	Device Device `json:"device,omitzero"`
	Source string `json:"source,omitempty"` // of what has no device: tmpfs, a path, a dataset
	// Outside: Source is a path of the machine that mounts it, and not of the
	// target.
	Outside    bool     `json:"outside,omitempty"`
	Mountpoint string   `json:"mountpoint"`
	FSType     string   `json:"fsType"`
	UUID       string   `json:"uuid,omitempty"`
	Options    []string `json:"options,omitempty"`
	// Size is a careful estimate of its device's, in bytes.
	Size int64 `json:"size,omitempty"`
	// Parts are the partitions that it stands on, through all layers.
	Parts []Part `json:"parts,omitempty"`
	site  site
}

// Part is a partition on a disk, or the whole of one when Entry.Number is 0.
type Part struct {
	Disk       Disk         `json:"disk"`
	Entry      layout.Entry `json:"entry,omitzero"`
	SectorSize int          `json:"sectorSize,omitempty"`
}

// DiskPlan is one disk, before and after.
type DiskPlan struct {
	Name   string        `json:"name"` // in devices.disk
	Disk   Disk          `json:"disk"`
	Before *layout.Table `json:"before,omitempty"`
	Found  []Found       `json:"found,omitempty"`
	// After is nil when the layout has no table on the disk.
	After *layout.Table `json:"after,omitempty"`
	// Whole is what a disk without a table holds: the text of Describe.
	Whole string `json:"whole,omitempty"`
	// Lost lists what will not be there any more, for people.
	Lost []string `json:"lost,omitempty"`
}

// Step is one thing to do. The kinds of Action are in actions.go.
type Step struct {
	Phase  event.Phase
	Name   string // unique within the plan, for people and for the journal
	Action Action
}

// MarshalJSON has the action's fields beside its kind:
//
//	{"phase":"format","name":"mkfs.ext4 main:root","kind":"mkfs","action":{...}}
func (s Step) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Phase  event.Phase `json:"phase"`
		Name   string      `json:"name"`
		Kind   string      `json:"kind"`
		Action Action      `json:"action"`
	}{s.Phase, s.Name, s.Action.Kind(), s.Action})
}

// Action is what a step does. A step is executed wholly from the values in it.
type Action interface {
	// Kind is the action's name in JSON.
	Kind() string
}

// Device names a block device by how it comes to be, never by a path that may
// change. Exactly one of Disk, Array, Mapper and VG is set, or Zvol.
type Device struct {
	Disk      string `json:"disk,omitempty"`      // NAME in devices.disk
	Array     string `json:"array,omitempty"`     // /dev/md/NAME
	Partition int    `json:"partition,omitempty"` // of the disk or array; 0: all of it
	VG        string `json:"vg,omitempty"`
	LV        string `json:"lv,omitempty"`
	Mapper    string `json:"mapper,omitempty"` // /dev/mapper/NAME
	Zvol      string `json:"zvol,omitempty"`   // POOL/NAME: /dev/zvol/POOL/NAME
	// Title is for people: "ESP", the partition's key in the layout.
	Title string `json:"title,omitempty"`
}

// String names the device for people: "main:ESP", "md/boot", "vg0/root",
// "mapper/crypt".
func (d Device) String() string {
	base := ""
	switch {
	case d.Disk != "":
		base = d.Disk
	case d.Array != "":
		base = "md/" + d.Array
	case d.Mapper != "":
		base = "mapper/" + d.Mapper
	case d.Zvol != "":
		base = "zvol/" + d.Zvol
	default:
		base = d.VG + "/" + d.LV
	}
	switch {
	case d.Title != "":
		return base + ":" + d.Title
	case d.Partition > 0:
		return fmt.Sprintf("%s:%d", base, d.Partition)
	}
	return base
}

// KeyFile is the key of a LUKS container.
type KeyFile struct {
	// Secret is the name under which it is delivered: "luks-NAME", and
	// "luks-NAME-1" ... for additional key files.
	Secret string `json:"secret"`
	// File is where the layout says that it is, on the machine where vic was
	// started; it is read when no secret of the name was given.
	File string `json:"file,omitempty"`
	// Password: line breaks at its end do not belong to it.
	Password bool `json:"password,omitempty"`
	// Ask: when there is neither, somebody is asked.
	Ask    bool `json:"ask,omitempty"`
	Size   int  `json:"size,omitempty"`   // bytes of the file that are the key; 0: all
	Offset int  `json:"offset,omitempty"` // bytes to skip
}

// Keys are the keys that making a layout takes, each once.
func Keys(l layout.Layout) []KeyFile {
	var list []KeyFile
	seen := map[string]bool{}
	add := func(keys ...KeyFile) {
		for _, k := range keys {
			if !seen[k.Secret] {
				seen[k.Secret] = true
				list = append(list, k)
			}
		}
	}
	contents(l, func(c layout.Content) {
		if s, ok := c.Spec.(*layout.LUKS); ok {
			add(keyOf(s))
			add(additionalKeys(s)...)
		}
	})
	return list
}

// IsKey says whether a secret's name is that of a key of a layout.
func IsKey(secret string) bool { return strings.HasPrefix(secret, keyPrefix) }

// keyPrefix begins the names of the secrets that are keys.
const keyPrefix = "luks-"
