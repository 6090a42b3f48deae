package storage

import (
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
)

// Range is a part of a disk, in bytes.
type Range struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
}

// The partition phase.
type (
	// CheckState compares a disk with what the plan was made for: identity,
	// table, and that nothing uses what will be lost. Nothing is written.
	CheckState struct {
		Disk   Disk          `json:"disk"`
		Before *layout.Table `json:"before,omitempty"`
	}
	// Release stops the arrays, volume groups, containers and swaps that stand
	// on parts of the disk that change hands, and refuses when one is in use
	// (mounted, open), or a swap has more in it than memory has room for.
	Release struct {
		Disk Disk    `json:"disk"`
		Keep []Range `json:"keep,omitempty"` // what stands only on these stays
		Anew bool    `json:"anew,omitempty"` // see Wipe
	}
	// Resize changes what is in a partition: shrinks it before the table is
	// written, or grows it after. The layers are worked off from the file
	// system outwards when shrinking, inwards when growing.
	Resize struct {
		Device Device  `json:"device"`
		From   int64   `json:"from"` // bytes of the partition before
		To     int64   `json:"to"`   // and after
		Layers []Layer `json:"layers"`
		// Again: the partition has the size already, and what is in it may have
		// too; what is in use is then left as it is.
		Again bool `json:"again,omitempty"`
	}
	// Wipe clears old tables and all signatures in every range that changes
	// hands. With Keep the old table stays until the new one is written over
	// it.
	Wipe struct {
		Disk  Disk          `json:"disk"`
		Table *layout.Table `json:"table,omitempty"` // to come
		Keep  []Range       `json:"keep,omitempty"`
		// Anew: a finished table that is as the layout says is an earlier
		// install, and is replaced like any other; only an unfinished one is
		// taken for this run's.
		Anew bool `json:"anew,omitempty"`
	}
	// WriteTable writes a partition table, on a disk or an array, and has the
	// kernel read it. Unfinished marks the partitions that have a content to be
	// made (see the package comment).
	WriteTable struct {
		Device     Device       `json:"device"`
		Disk       *Disk        `json:"disk,omitempty"` // of Device.Disk
		Table      layout.Table `json:"table"`
		Unfinished bool         `json:"unfinished,omitempty"`
		Anew       bool         `json:"anew,omitempty"` // see Wipe
		// Content and Seed are set for a table on an array: how large that is is
		// only known once it is made. The executor settles the table again, by
		// layout.ResolveArrayTable; Table is for an estimated size.
		Content *layout.Content `json:"content,omitempty"`
		Seed    uuid.UUID       `json:"seed,omitzero"`
		// EFIFirst: in a hybrid MBR the protective entry comes first.
		EFIFirst bool `json:"efiFirst,omitempty"`
	}
)

// Layer is one of the things stacked in a partition that is resized.
type Layer struct {
	Type string `json:"type"` // as Found.Type: crypto_LUKS, LVM2_member, ext4, ...
	UUID string `json:"uuid,omitempty"`
	// Key opens a LUKS container.
	Key *KeyFile `json:"key,omitempty"`
	// LV is the volume that gives or takes the space, of an LVM2_member, and
	// what the following layers are in; "": none does.
	VG string `json:"vg,omitempty"`
	LV string `json:"lv,omitempty"`
}

// The format phase.
type (
	// Mkfs makes a file system, or a swap area.
	Mkfs struct {
		Device Device   `json:"device"`
		Format string   `json:"format"` // ext4, vfat, btrfs, swap, ...
		UUID   string   `json:"uuid"`   // as blkid prints it
		Label  string   `json:"label,omitempty"`
		Args   []string `json:"args,omitempty"` // further ones, for mkfs
		// Also are further devices of a btrfs.
		Also []Device `json:"also,omitempty"`
		// Start is the first sector of the device on its disk, 0 if unknown.
		Start uint64 `json:"start,omitempty"`
	}
	// Subvolumes makes a btrfs's subvolumes, parents first, and swap files.
	Subvolumes struct {
		Device     Device      `json:"device"`
		UUID       string      `json:"uuid"` // of the btrfs
		Subvolumes []Subvolume `json:"subvolumes,omitempty"`
		SwapFiles  []SwapFile  `json:"swapFiles,omitempty"`
	}
	// LUKSFormat makes a LUKS container with all its keys.
	LUKSFormat struct {
		Device     Device    `json:"device"`
		Name       string    `json:"name"`
		UUID       string    `json:"uuid"`
		Key        KeyFile   `json:"key"`
		Additional []KeyFile `json:"additional,omitempty"`
		Args       []string  `json:"args,omitempty"`
		Header     string    `json:"header,omitempty"` // detached, a path
	}
	// LUKSOpen opens one.
	LUKSOpen struct {
		Device           Device   `json:"device"`
		Name             string   `json:"name"`
		UUID             string   `json:"uuid"`
		Key              KeyFile  `json:"key"`
		AllowDiscards    bool     `json:"allowDiscards,omitempty"`
		BypassWorkqueues bool     `json:"bypassWorkqueues,omitempty"`
		Args             []string `json:"args,omitempty"`
		Header           string   `json:"header,omitempty"`
	}
	// CreateVG makes the physical volumes and the group.
	CreateVG struct {
		VG  string   `json:"vg"`
		PVs []Device `json:"pvs"`
	}
	// CreateLV makes a logical volume.
	CreateLV struct {
		VG   string   `json:"vg"`
		LV   string   `json:"lv"`
		Size string   `json:"size"`           // as lvcreate takes it; with % in extents
		Type string   `json:"type,omitempty"` // raid1, thin-pool, thin, ...
		Pool string   `json:"pool,omitempty"`
		Args []string `json:"args,omitempty"`
	}
	// ActivateVG makes the volumes of a group that exists usable.
	ActivateVG struct {
		VG string `json:"vg"`
	}
	// CreateArray makes an MD array.
	CreateArray struct {
		Array    string   `json:"array"`
		Level    string   `json:"level"`
		Metadata string   `json:"metadata"` // "1.2"; "default" leaves it to mdadm
		UUID     string   `json:"uuid"`     // in mdadm's form: 8:8:8:8 hex digits
		Members  []Device `json:"members"`
		Args     []string `json:"args,omitempty"`
	}
	// AssembleArray starts an array that exists.
	AssembleArray struct {
		Array   string   `json:"array"`
		UUID    string   `json:"uuid"`
		Members []Device `json:"members"`
	}
	// CreatePool makes a ZFS pool; Vdevs are zpool create's words, with device
	// placeholders as Word.Device.
	CreatePool struct {
		Pool        string            `json:"pool"`
		Vdevs       []Word            `json:"vdevs"`
		Options     map[string]string `json:"options,omitempty"`
		RootOptions map[string]string `json:"rootOptions,omitempty"`
		Mountpoint  string            `json:"mountpoint,omitempty"`
	}
	// ImportPool makes a pool that exists usable; nothing of it is mounted.
	ImportPool struct {
		Pool    string   `json:"pool"`
		Members []Device `json:"members,omitempty"`
	}
	// CreateDataset makes a ZFS dataset, or a volume when it has a size.
	CreateDataset struct {
		Dataset string            `json:"dataset"` // POOL/NAME
		Size    string            `json:"size,omitempty"`
		Options map[string]string `json:"options,omitempty"`
		Args    []string          `json:"args,omitempty"`
	}
	// MkfsBcachefs makes a bcachefs over its members, with subvolumes.
	MkfsBcachefs struct {
		Name       string           `json:"name"`
		UUID       string           `json:"uuid"`
		Members    []BcachefsMember `json:"members"`
		Key        *KeyFile         `json:"key,omitempty"`
		Args       []string         `json:"args,omitempty"`
		Subvolumes []Subvolume      `json:"subvolumes,omitempty"`
	}
	// Hook runs a script of the layout.
	Hook struct {
		When   string `json:"when"` // "preCreate", "postMount", ...
		At     string `json:"at"`   // what it stands at: "disk.main"
		Device Device `json:"device,omitzero"`
		Script string `json:"script"`
		// Vars are what the script sees besides $device and $rootMountPoint.
		Vars layout.Variables `json:"vars,omitzero"`
	}
)

// Word is an argument: a text, or a device's path.
type Word struct {
	Text   string  `json:"text,omitempty"`
	Device *Device `json:"device,omitempty"`
}

// Subvolume of a btrfs or bcachefs.
type Subvolume struct {
	Path string   `json:"path"` // without a leading /
	Args []string `json:"args,omitempty"`
}

// SwapFile in a btrfs.
type SwapFile struct {
	Path string `json:"path"` // from the top of the file system
	Size string `json:"size"` // "2G"
}

// BcachefsMember is a device of a bcachefs with its own format arguments.
type BcachefsMember struct {
	Device Device   `json:"device"`
	Label  string   `json:"label,omitempty"`
	Args   []string `json:"args,omitempty"`
}

// Mounting and its opposite.
type (
	// Mount mounts below the target's root; parents come before.
	Mount struct {
		// Device, or Source for what has none: "tmpfs", a path to bind.
		Device Device `json:"device,omitzero"`
		Source string `json:"source,omitempty"`
		// Outside: the path is one of the machine that mounts it, and has to be
		// there; otherwise it is seen from inside the target, and made.
		Outside bool   `json:"outside,omitempty"`
		FSType  string `json:"fsType"`
		UUID    string `json:"uuid,omitempty"` // that the file system has to have
		// Mountpoint is absolute, as seen from inside the target.
		Mountpoint string   `json:"mountpoint"`
		Options    []string `json:"options,omitempty"`
	}
	// SwapOn turns a swap area or file on. Only "vic disk mount" does: an
	// install does not swap to the disk it writes.
	SwapOn struct {
		Device   Device   `json:"device,omitzero"`
		File     string   `json:"file,omitempty"` // as seen from inside the target
		UUID     string   `json:"uuid,omitempty"`
		Priority *int     `json:"priority,omitempty"`
		Options  []string `json:"options,omitempty"`
	}
	// SwapOff is its opposite; no error when it is not on.
	SwapOff struct {
		Device Device `json:"device,omitzero"`
		File   string `json:"file,omitempty"`
	}
	// Unmount unmounts everything below the target's root.
	Unmount struct{}
	// Close closes a LUKS container, deactivates a volume group, stops an
	// array or exports a pool; no error when it is not active. Exactly one
	// field is set.
	Close struct {
		Mapper string `json:"mapper,omitempty"`
		VG     string `json:"vg,omitempty"`
		Array  string `json:"array,omitempty"`
		Pool   string `json:"pool,omitempty"`
	}
	// Flush has a disk write what it still has in its caches.
	Flush struct {
		Disk Disk `json:"disk"`
	}
)

// Kind implements Action.
func (CheckState) Kind() string    { return "check-state" }
func (Release) Kind() string       { return "release" }
func (Resize) Kind() string        { return "resize" }
func (Wipe) Kind() string          { return "wipe" }
func (WriteTable) Kind() string    { return "write-table" }
func (Mkfs) Kind() string          { return "mkfs" }
func (Subvolumes) Kind() string    { return "subvolumes" }
func (LUKSFormat) Kind() string    { return "luks-format" }
func (LUKSOpen) Kind() string      { return "luks-open" }
func (CreateVG) Kind() string      { return "create-vg" }
func (CreateLV) Kind() string      { return "create-lv" }
func (ActivateVG) Kind() string    { return "activate-vg" }
func (CreateArray) Kind() string   { return "create-array" }
func (AssembleArray) Kind() string { return "assemble-array" }
func (CreatePool) Kind() string    { return "create-pool" }
func (ImportPool) Kind() string    { return "import-pool" }
func (CreateDataset) Kind() string { return "create-dataset" }
func (MkfsBcachefs) Kind() string  { return "mkfs-bcachefs" }
func (Hook) Kind() string          { return "hook" }
func (Mount) Kind() string         { return "mount" }
func (SwapOn) Kind() string        { return "swap-on" }
func (SwapOff) Kind() string       { return "swap-off" }
func (Unmount) Kind() string       { return "unmount" }
func (Close) Kind() string         { return "close" }
func (Flush) Kind() string         { return "flush" }
