package cli

import (
	"fmt"
	"strings"

	"github.com/victorinix/vic/disk/layout"
)

// partitionTypes are what people call the types of a GPT (UEFI 2.10 §5.3.3,
// the Discoverable Partitions Specification, and the vendors' own).
var partitionTypes = map[string]string{
	"c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
	"21686148-6449-6e6f-744e-656564454649": "BIOS boot",
	"bc13c2ff-59e6-4262-a352-b275fd6f7172": "XBOOTLDR",
	"0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
	"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "swap",
	"4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "root x86-64",
	"b921b045-1df0-41c3-af44-4c6f280d3fae": "root arm64",
	"44479540-f297-41b2-9af7-d131d5f0458a": "root x86",
	"69dad710-2ce4-4e3c-b16c-21a1d49abed3": "root arm",
	"8484680c-9521-48c6-9c11-b0720656f69e": "/usr x86-64",
	"b0e01050-ee5f-4390-949a-9101b17104e9": "/usr arm64",
	"933ac7e1-2eb4-4f13-b844-0e14e2aef915": "/home",
	"3b8f8425-20e0-4f3b-907f-1a25a76f98e8": "/srv",
	"4d21b016-b534-45c2-a9fb-5c16e091fd2d": "/var",
	"7ec6f557-3bc5-4aca-b293-16ef5df639d1": "/var/tmp",
	"ca7d7ccb-63ed-4c53-861c-1742536059cc": "LUKS",
	"e6d6d379-f507-44c2-a23c-238f2a3df928": "LVM",
	"a19d880f-05fc-4d3b-a006-743f0f84911e": "RAID",
	"8da63339-0007-60c0-c436-083ac8230908": "Linux reserved",
	"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft data",
	"e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
	"de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
	"6a898cc3-1dd2-11b2-99a6-080020736631": "ZFS",
	"7c3457ef-0000-11aa-aa11-00306543ecac": "APFS",
	"48465300-0000-11aa-aa11-00306543ecac": "HFS+",
	"9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PReP",
	"76696300-756e-4669-a973-686564000001": "unfinished by vic",
}

// mbrTypes are those of an MBR.
var mbrTypes = map[byte]string{
	0x01: "FAT12", 0x04: "FAT16", 0x05: "extended", 0x06: "FAT16", 0x07: "NTFS/exFAT", 0x0b: "FAT32", 0x0c: "FAT32",
	0x0e: "FAT16", 0x0f: "extended", 0x27: "Windows recovery", 0x82: "swap", 0x83: "Linux", 0x85: "extended",
	0x8e: "LVM", 0xda: "unfinished, or no file system", 0xee: "protective", 0xef: "EFI system", 0xfd: "RAID",
}

// partitionKind is the type of a partition and its label, for people.
func partitionKind(e *layout.Entry) string {
	if e == nil {
		return ""
	}
	kind := partitionTypes[e.Type.String()]
	var marks []string
	if m := e.MBR; m != nil {
		if kind == "" {
			kind = mbrTypes[m.Type]
		}
		if kind == "" {
			kind = fmt.Sprintf("type 0x%02x", m.Type)
		}
		if m.Bootable {
			marks = append(marks, "bootable")
		}
		if m.Part == "" {
			marks = append(marks, fmt.Sprintf("0x%02x in the hybrid MBR", m.Type))
		}
	}
	if kind == "" {
		kind = e.Type.String()
	}
	if e.Label != "" && !strings.EqualFold(e.Label, kind) {
		kind += fmt.Sprintf(" %q", e.Label)
	}
	if len(marks) > 0 {
		kind += " (" + strings.Join(marks, ", ") + ")"
	}
	return kind
}
