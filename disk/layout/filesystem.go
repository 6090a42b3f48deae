package layout

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// Identity is what a file system or swap area is known by.
type Identity struct {
	// UUID as blkid prints it: for vfat the volume id "ABCD-1234".
	UUID  string
	Label string
	// Args are the arguments that are left for mkfs.
	Args []string
}

// Identify takes UUID and label out of the arguments for the mkfs of a format,
// where they stand there; a UUID that is missing derives from the seed and the
// name.
func Identify(format string, args []string, seed uuid.UUID, name string) (Identity, error) {
	id, err := split(format, args)
	if err != nil {
		return id, err
	}
	if id.UUID == "" {
		derived := uuid.NewSHA1(seed, []byte(name))
		id.UUID = derived.String()
		if format == "vfat" || format == "exfat" {
			id.UUID = fmt.Sprintf("%04X-%04X", derived[0:2], derived[2:4])
		}
	}
	return id, nil
}

// identityFlags are the flags of each mkfs for the UUID and the label; "" where
// it has none.
func identityFlags(format string) (id, label string) {
	switch format {
	case "vfat":
		return "-i", "-n"
	case "exfat":
		return "", "-L"
	case "xfs":
		return "", "-L" // -m uuid=
	case "f2fs":
		return "-U", "-l"
	}
	return "-U", "-L"
}

func split(format string, args []string) (Identity, error) {
	var id Identity
	flags := map[string]*string{}
	u, l := identityFlags(format)
	flags[u], flags[l] = &id.UUID, &id.Label
	delete(flags, "")
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || flags[arg[:2]] == nil {
			id.Args = append(id.Args, arg)
			continue
		}
		value := arg[2:]
		if value == "" {
			if i++; i == len(args) {
				return id, fmt.Errorf("%s needs a value", arg)
			}
			value = args[i]
		}
		*flags[arg[:2]] = value
	}
	return id, id.check(format)
}

// volumeID is the argument of mkfs.vfat -i.
var volumeID = regexp.MustCompile(`^[0-9a-fA-F]{8}$`)

// maxLabels are in bytes.
var maxLabels = map[string]int{"ext2": 16, "ext3": 16, "ext4": 16, "vfat": 11, "exfat": 15, "xfs": 12, "btrfs": 255, "f2fs": 512, "swap": 15}

// check finds what mkfs would refuse, or silently change.
func (id *Identity) check(format string) error {
	if format == "vfat" {
		if plain := strings.ReplaceAll(id.UUID, "-", ""); volumeID.MatchString(plain) {
			id.UUID = strings.ToUpper(plain[:4] + "-" + plain[4:])
		} else if id.UUID != "" {
			return fmt.Errorf("volume id %q is not eight hexadecimal digits", id.UUID)
		}
	} else if id.UUID != "" && !guidPattern.MatchString(id.UUID) {
		return fmt.Errorf("%q is not a UUID", id.UUID)
	}
	if most := maxLabels[format]; most > 0 && len(id.Label) > most {
		return fmt.Errorf("label %q is longer than %d bytes", id.Label, most)
	}
	return nil
}
