package layout

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// Partition types that other packages look for (UEFI 2.10 §5.3.3, Discoverable
// Partitions Specification).
var (
	TypeESP       = uuid.MustParse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	TypeBIOSBoot  = uuid.MustParse("21686148-6449-6e6f-744e-656564454649")
	TypeXBOOTLDR  = uuid.MustParse("bc13c2ff-59e6-4262-a352-b275fd6f7172")
	TypeLinux     = uuid.MustParse("0fc63daf-8483-4772-8e79-3d69d8477de4")
	TypeRootAMD64 = uuid.MustParse("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
	TypeRootARM64 = uuid.MustParse("b921b045-1df0-41c3-af44-4c6f280d3fae")
)

// codes are the type codes of sgdisk(8).
var codes = map[string]string{
	"0700": "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", // Microsoft basic data
	"0C01": "e3c9e316-0b5c-4db8-817d-f92df00215ae", // Microsoft reserved
	"2700": "de94bba4-06d1-4d40-a16a-bfd50179d6ac", // Windows RE
	"4100": "9e1a2d38-c612-4316-aa26-8b49521e5a8b", // PowerPC PReP
	"8200": "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", // swap
	"8300": "0fc63daf-8483-4772-8e79-3d69d8477de4", // Linux file system
	"8301": "8da63339-0007-60c0-c436-083ac8230908", // Linux reserved
	"8302": "933ac7e1-2eb4-4f13-b844-0e14e2aef915", // /home
	"8303": "44479540-f297-41b2-9af7-d131d5f0458a", // root, x86
	"8304": "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", // root, x86-64
	"8305": "b921b045-1df0-41c3-af44-4c6f280d3fae", // root, ARM64
	"8306": "3b8f8425-20e0-4f3b-907f-1a25a76f98e8", // /srv
	"8307": "69dad710-2ce4-4e3c-b16c-21a1d49abed3", // root, ARM32
	"8308": "7ffec5c9-2d00-49b7-8941-3ea10a5586b7", // dm-crypt
	"8309": "ca7d7ccb-63ed-4c53-861c-1742536059cc", // LUKS
	"830B": "d13c5d3b-b5d1-422a-b29f-9454fdc89d76", // root verity, x86
	"830C": "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", // root verity, x86-64
	"830D": "7386cdf2-203c-47a9-a498-f2ecce45a2d6", // root verity, ARM32
	"830E": "df3300ce-d69f-4c92-978c-9bfb0f38d820", // root verity, ARM64
	"8310": "4d21b016-b534-45c2-a9fb-5c16e091fd2d", // /var
	"8311": "7ec6f557-3bc5-4aca-b293-16ef5df639d1", // /var/tmp
	"8312": "773f91ef-66d4-49b5-bd83-d683bf40ad16", // a user's home
	"8314": "8484680c-9521-48c6-9c11-b0720656f69e", // /usr, x86-64
	"8316": "b0e01050-ee5f-4390-949a-9101b17104e9", // /usr, ARM64
	"8319": "77ff5f63-e7b6-4633-acf4-1565b864c0e6", // /usr verity, x86-64
	"831B": "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e", // /usr verity, ARM64
	"AF00": "48465300-0000-11aa-aa11-00306543ecac", // HFS+
	"8E00": "e6d6d379-f507-44c2-a23c-238f2a3df928", // LVM
	"EA00": "bc13c2ff-59e6-4262-a352-b275fd6f7172", // XBOOTLDR
	"EF00": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", // ESP
	"EF02": "21686148-6449-6e6f-744e-656564454649", // BIOS boot
	"FD00": "a19d880f-05fc-4d3b-a006-743f0f84911e", // RAID
}

var guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// typeGUID reads a partition type: a code of sgdisk or a GUID.
func typeGUID(s string) (uuid.UUID, error) {
	if s == "" {
		return TypeLinux, nil
	}
	if guid, ok := codes[strings.ToUpper(s)]; ok {
		return uuid.MustParse(guid), nil
	}
	if guidPattern.MatchString(s) {
		return uuid.MustParse(s), nil
	}
	return uuid.UUID{}, fmt.Errorf("unknown partition type %q: expected a code of sgdisk such as EF00, or a GUID", s)
}
