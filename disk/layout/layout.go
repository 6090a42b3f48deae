// Package layout is disko's schema: how disks are cut and formatted, and the
// exact partition tables that come out of it.
//
// It is pure: it parses, validates and computes, and never opens a device.
// Names, defaults and meanings are those of disko's own types
// (https://github.com/nix-community/disko, lib/types), so that an existing
// disko config works unchanged; vic's additions are extra keys only.
//
//	text --Parse--> Layout --Resolve(disks, seed)--> []Table (sectors, GUIDs)
//	                   |--Order--> what has to be made before what
//	                   '--Needs--> formats, tools, subsystems that it uses
//
// What stands inside of a partition, an array or a volume group is a Content;
// package internal/plan/storage makes the steps from it. What vic does not know
// how to make is an error that names the key, never something that is skipped.
package layout

// Layout is a whole configuration: the value below disko's "disko.devices",
// or a document with that key, or with "devices".
type Layout struct {
	Disk  map[string]Disk        `json:"disk,omitempty"`
	MDADM map[string]Array       `json:"mdadm,omitempty"`
	LVMVG map[string]VolumeGroup `json:"lvm_vg,omitempty"`
	Zpool map[string]Pool        `json:"zpool,omitempty"`
	// Bcachefs are file systems over several members (disko's
	// bcachefs_filesystems).
	Bcachefs map[string]BcachefsFilesystem `json:"bcachefs_filesystems,omitempty"`
	Nodev    map[string]Nodev              `json:"nodev,omitempty"`
}

// Disk is devices.disk.NAME.
type Disk struct {
	Type string `json:"type"` // "disk"
	// Device is disko's device path. It may be empty: the disk is then given
	// with --disk, or found by Match.
	Device string `json:"device,omitempty"`
	// Match is vic's: the disk is found by what it is.
	Match *Match `json:"match,omitempty"`
	// Name is used in default labels; default the key, with "_" for "/".
	Name string `json:"name,omitempty"`
	// ImageName and ImageSize are of a disk image made from the layout; they
	// have no meaning for a real disk.
	ImageName string   `json:"imageName,omitempty"`
	ImageSize string   `json:"imageSize,omitempty"`
	Content   *Content `json:"content,omitempty"`
	Hooks
}

// Match chooses one disk of the machine; every field that is set has to match.
type Match struct {
	Serial string `json:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty"`
	// Model is compared as a whole, or as a pattern with * and ? in it.
	Model string `json:"model,omitempty"`
	// Size is a range: "500G", ">=100G", "<2T", "100G..600G". A unit is a power
	// of 1000, as on a disk's label; "500G" alone matches within 1 %.
	Size string `json:"size,omitempty"`
	// Transport is nvme, sata, usb, mmc, virtio, scsi or xen.
	Transport  string `json:"transport,omitempty"`
	Rotational *bool  `json:"rotational,omitempty"`
	Removable  *bool  `json:"removable,omitempty"`
	// Table is the GUID of the GPT that is on the disk now.
	Table string `json:"table,omitempty"`
}

// Hooks are disko's: shell scripts that run before and after the step that
// makes, mounts or unmounts what they stand at.
type Hooks struct {
	PreCreate   string `json:"preCreateHook,omitempty"`
	PostCreate  string `json:"postCreateHook,omitempty"`
	PreMount    string `json:"preMountHook,omitempty"`
	PostMount   string `json:"postMountHook,omitempty"`
	PreUnmount  string `json:"preUnmountHook,omitempty"`
	PostUnmount string `json:"postUnmountHook,omitempty"`
}

// GPT is content type gpt.
type GPT struct {
	// EFIGPTPartitionFirst has the protective entry come first in a hybrid MBR;
	// default true.
	EFIGPTPartitionFirst *bool                `json:"efiGptPartitionFirst,omitempty"`
	Partitions           map[string]Partition `json:"partitions,omitempty"`
	Hooks
}

// Partition is one of a gpt's partitions.
type Partition struct {
	Name     string `json:"name,omitempty"`  // in the default label; default the key
	Type     string `json:"type,omitempty"`  // sgdisk code ("EF00") or GUID; default 8300, for swap 8200
	Size     string `json:"size,omitempty"`  // default "0": all that is left
	Start    string `json:"start,omitempty"` // default "0": the next free aligned sector
	End      string `json:"end,omitempty"`
	Label    string `json:"label,omitempty"`    // default disk-NAME-PARTITION, as disko
	UUID     string `json:"uuid,omitempty"`     // default derived from the seed
	Priority *int   `json:"priority,omitempty"` // smaller comes first; default 1000, EF02 100, size 100% 9001
	// Alignment is in sectors, as sgdisk --set-alignment. Default 1 when Start or
	// End is in sectors ("34s"), otherwise 1 MiB, or what partitions that come
	// before are aligned to.
	Alignment int     `json:"alignment,omitempty"`
	Attribute []int   `json:"attributes,omitempty"`
	Hybrid    *Hybrid `json:"hybrid,omitempty"`
	// Keep is vic's: the partition is there and stays, with its number, GUID and
	// data. It is found by UUID where that is given, else by its label (Label,
	// or what Label defaults to), else by the key as label. Its content says
	// where to mount it, and is never made. Its Size, where it has one, is the
	// least that will do; its start is where it is.
	Keep bool `json:"keep,omitempty"`
	// Resize is vic's, with Keep: the new size of the partition, as Size; 100%
	// is up to the next partition that is kept. Contents are shrunk before, or
	// grown after it.
	Resize  string   `json:"resize,omitempty"`
	Content *Content `json:"content,omitempty"`
}

// Hybrid is a partition's entry in a hybrid MBR.
type Hybrid struct {
	MBRPartitionType string `json:"mbrPartitionType,omitempty"` // hex: "0x0c"
	MBRBootableFlag  bool   `json:"mbrBootableFlag,omitempty"`
}

// MBR is content type table, disko's legacy partition table.
type MBR struct {
	Format     string         `json:"format,omitempty"` // "gpt" (default) or "msdos"
	Partitions []MBRPartition `json:"partitions,omitempty"`
	Hooks
}

// MBRPartition is one partition of a table; start and end are parted's.
type MBRPartition struct {
	PartType string   `json:"part-type,omitempty"` // primary (default), logical, extended
	FSType   string   `json:"fs-type,omitempty"`   // parted's: ext4, fat32, linux-swap, ...
	Name     string   `json:"name,omitempty"`
	Start    string   `json:"start,omitempty"` // default "0%"
	End      string   `json:"end,omitempty"`   // default "100%"
	Flags    []string `json:"flags,omitempty"`
	Bootable bool     `json:"bootable,omitempty"`
	Content  *Content `json:"content,omitempty"`
}

// Filesystem is content type filesystem.
type Filesystem struct {
	Format       string   `json:"format"` // ext2, ext3, ext4, xfs, btrfs, f2fs, vfat, exfat; kept: also ntfs, ...
	Mountpoint   string   `json:"mountpoint,omitempty"`
	MountOptions []string `json:"mountOptions,omitempty"` // default ["defaults"]
	ExtraArgs    []string `json:"extraArgs,omitempty"`    // for mkfs
	Hooks
}

// Btrfs is content type btrfs. A file system over several devices has the
// others in ExtraArgs, as with disko.
type Btrfs struct {
	Mountpoint   string               `json:"mountpoint,omitempty"`
	MountOptions []string             `json:"mountOptions,omitempty"` // default ["defaults"]
	ExtraArgs    []string             `json:"extraArgs,omitempty"`
	Subvolumes   map[string]Subvolume `json:"subvolumes,omitempty"`
	Swap         map[string]SwapFile  `json:"swap,omitempty"`
	Hooks
}

// Subvolume of a btrfs. Name may be a path: parents are made first.
type Subvolume struct {
	Type         string              `json:"type,omitempty"` // "btrfs_subvol", "bcachefs_subvolume"
	Name         string              `json:"name,omitempty"` // default the key
	Mountpoint   string              `json:"mountpoint,omitempty"`
	MountOptions []string            `json:"mountOptions,omitempty"` // default ["defaults"]
	ExtraArgs    []string            `json:"extraArgs,omitempty"`
	Swap         map[string]SwapFile `json:"swap,omitempty"`
}

// SwapFile is a swap file in a btrfs. Parse turns disko's older form, {enable,
// files: [...]}, into this one.
type SwapFile struct {
	Type          string   `json:"type,omitempty"`          // "btrfs_swap"
	Size          string   `json:"size"`                    // "2G"
	Path          string   `json:"path,omitempty"`          // within the subvolume; default the key
	DiscardPolicy string   `json:"discardPolicy,omitempty"` // as Swap's
	Priority      *int     `json:"priority,omitempty"`      // of swapon
	Options       []string `json:"options,omitempty"`       // default ["defaults"]
}

// Swap is content type swap.
type Swap struct {
	DiscardPolicy    string   `json:"discardPolicy,omitempty"` // "once", "pages", "both"
	ExtraArgs        []string `json:"extraArgs,omitempty"`     // for mkswap
	MountOptions     []string `json:"mountOptions,omitempty"`
	Priority         *int     `json:"priority,omitempty"`
	RandomEncryption bool     `json:"randomEncryption,omitempty"`
	ResumeDevice     bool     `json:"resumeDevice,omitempty"`
	Hooks
}

// LUKS is content type luks.
type LUKS struct {
	Name string `json:"name"` // below /dev/mapper
	// PasswordFile, KeyFile (disko's old name for it) and Settings.KeyFile name
	// a file on the machine that formats; what is in it is a secret of that
	// path. AskPassword: the secret "luks-NAME", asked for on the terminal when
	// it is not given with -s. Default when there is no file.
	PasswordFile       string       `json:"passwordFile,omitempty"`
	KeyFile            string       `json:"keyFile,omitempty"`
	AskPassword        *bool        `json:"askPassword,omitempty"`
	Settings           LUKSSettings `json:"settings,omitzero"`
	AdditionalKeyFiles []string     `json:"additionalKeyFiles,omitempty"`
	InitrdUnlock       *bool        `json:"initrdUnlock,omitempty"` // default true
	ExtraFormatArgs    []string     `json:"extraFormatArgs,omitempty"`
	ExtraOpenArgs      []string     `json:"extraOpenArgs,omitempty"`
	EnrollFIDO2        bool         `json:"enrollFido2,omitempty"`
	EnrollFIDO2Args    []string     `json:"extraFido2EnrollArgs,omitempty"`
	EnrollRecovery     bool         `json:"enrollRecovery,omitempty"`
	Content            *Content     `json:"content,omitempty"`
	Hooks
}

// LUKSSettings are NixOS's boot.initrd.luks.devices.NAME, as far as they mean
// something elsewhere.
type LUKSSettings struct {
	KeyFile            string   `json:"keyFile,omitempty"`
	KeyFileSize        int      `json:"keyFileSize,omitempty"`   // bytes
	KeyFileOffset      int      `json:"keyFileOffset,omitempty"` // bytes
	KeyFileTimeout     int      `json:"keyFileTimeout,omitempty"`
	TryEmptyPassphrase bool     `json:"tryEmptyPassphrase,omitempty"`
	FallbackToPassword bool     `json:"fallbackToPassword,omitempty"`
	AllowDiscards      bool     `json:"allowDiscards,omitempty"`
	BypassWorkqueues   bool     `json:"bypassWorkqueues,omitempty"`
	Header             string   `json:"header,omitempty"`
	PreLVM             *bool    `json:"preLVM,omitempty"`
	CrypttabExtraOpts  []string `json:"crypttabExtraOpts,omitempty"`
	PreOpenCommands    string   `json:"preOpenCommands,omitempty"`
	PostOpenCommands   string   `json:"postOpenCommands,omitempty"`
}

// LVMPV is content type lvm_pv: a member of devices.lvm_vg.VG.
type LVMPV struct {
	VG string `json:"vg"`
	Hooks
}

// VolumeGroup is devices.lvm_vg.NAME.
type VolumeGroup struct {
	Type string                   `json:"type"` // "lvm_vg"
	Name string                   `json:"name,omitempty"`
	LVs  map[string]LogicalVolume `json:"lvs,omitempty"`
	Hooks
}

// LogicalVolume of a VolumeGroup.
type LogicalVolume struct {
	Name     string `json:"name,omitempty"`
	Priority *int   `json:"priority,omitempty"` // default: see VolumeGroup.Order
	Size     string `json:"size,omitempty"`     // "10G", "40%FREE", "100%FREE", "50%VG"
	LVMType  string `json:"lvm_type,omitempty"` // mirror, raid0, ..., thin-pool, thinlv
	Pool     string `json:"pool,omitempty"`     // of a thin volume
	// ExtraArgs are lvcreate's.
	ExtraArgs []string `json:"extraArgs,omitempty"`
	Content   *Content `json:"content,omitempty"`
	Hooks
}

// MDRaid is content type mdraid: a member of devices.mdadm.NAME.
type MDRaid struct {
	Name string `json:"name"`
	Hooks
}

// Array is devices.mdadm.NAME.
type Array struct {
	Type      string   `json:"type"` // "mdadm"
	Name      string   `json:"name,omitempty"`
	Level     string   `json:"level,omitempty"`    // 0, 1 (default), 4, 5, 6, 10, "linear", "container"
	Metadata  string   `json:"metadata,omitempty"` // "1", "1.0", "1.1", "1.2", "default", "ddf", "imsm"; vic's: "0.90"
	ExtraArgs []string `json:"extraArgs,omitempty"`
	Content   *Content `json:"content,omitempty"`
	Hooks
}

// ZFS is content type zfs: a member of devices.zpool.POOL.
type ZFS struct {
	Pool string `json:"pool"`
	Hooks
}

// Pool is devices.zpool.NAME.
type Pool struct {
	Type string `json:"type"` // "zpool"
	Name string `json:"name,omitempty"`
	// Mode is "", "mirror", "raidz", ..., or disko's {topology: ...}: see
	// Topology.
	Mode         any                `json:"mode,omitempty"`
	Options      map[string]string  `json:"options,omitempty"`
	RootOptions  map[string]string  `json:"rootFsOptions,omitempty"`
	Mountpoint   string             `json:"mountpoint,omitempty"`
	MountOptions []string           `json:"mountOptions,omitempty"`
	Datasets     map[string]Dataset `json:"datasets,omitempty"`
	Hooks
}

// Dataset of a Pool: type zfs_fs or zfs_volume.
type Dataset struct {
	Type         string            `json:"type"`
	Name         string            `json:"name,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
	Mountpoint   string            `json:"mountpoint,omitempty"`
	MountOptions []string          `json:"mountOptions,omitempty"`
	Size         string            `json:"size,omitempty"` // of a volume
	ExtraArgs    []string          `json:"extraArgs,omitempty"`
	Content      *Content          `json:"content,omitempty"` // of a volume
	Hooks
}

// BcachefsMember is content type bcachefs.
type BcachefsMember struct {
	Filesystem      string   `json:"filesystem"`
	Label           string   `json:"label,omitempty"`
	ExtraFormatArgs []string `json:"extraFormatArgs,omitempty"`
	Hooks
}

// BcachefsFilesystem is devices.bcachefs_filesystems.NAME.
type BcachefsFilesystem struct {
	Type            string               `json:"type"` // "bcachefs_filesystem"
	Name            string               `json:"name,omitempty"`
	UUID            string               `json:"uuid,omitempty"`
	PasswordFile    string               `json:"passwordFile,omitempty"`
	ExtraFormatArgs []string             `json:"extraFormatArgs,omitempty"`
	Mountpoint      string               `json:"mountpoint,omitempty"`
	MountOptions    []string             `json:"mountOptions,omitempty"`
	Subvolumes      map[string]Subvolume `json:"subvolumes,omitempty"`
	Hooks
}

// Nodev is devices.nodev.MOUNTPOINT: a file system without a device.
type Nodev struct {
	Type         string   `json:"type,omitempty"` // "nodev"
	FSType       string   `json:"fsType"`         // tmpfs; with mount option "bind": any
	Device       string   `json:"device,omitempty"`
	Mountpoint   string   `json:"mountpoint,omitempty"` // default the key
	MountOptions []string `json:"mountOptions,omitempty"`
	Hooks
}
