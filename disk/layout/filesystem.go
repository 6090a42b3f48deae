package layout

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/lazyregexp"
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

// identityFlags are the flags of each mkfs for the UUID and the label, short
// and long; those that it does not have are empty.
type identityFlags struct{ id, label, longID, longLabel string }

func flagsOf(format string) identityFlags {
	switch format {
	case "vfat":
		return identityFlags{id: "-i", label: "-n"}
	case "exfat":
		return identityFlags{label: "-L", longLabel: "--volume-label"}
	case "xfs":
		return identityFlags{label: "-L"} // the UUID is among the values of -m
	case "f2fs":
		return identityFlags{id: "-U", label: "-l"}
	case "btrfs", "swap":
		return identityFlags{"-U", "-L", "--uuid", "--label"}
	}
	return identityFlags{id: "-U", label: "-L"}
}

func split(format string, args []string) (Identity, error) {
	var id Identity
	flags := flagsOf(format)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		var into *string
		name, value, given := cutFlag(arg)
		switch {
		case format == "xfs" && name == "-m":
			if !given && i+1 < len(args) {
				i++
				value = args[i]
			}
			id.takeXFS(value)
			continue
		case name == "":
		case name == flags.id || name == flags.longID:
			into = &id.UUID
		case name == flags.label || name == flags.longLabel:
			into = &id.Label
		}
		if into == nil {
			id.Args = append(id.Args, arg)
			continue
		}
		if !given {
			if i++; i == len(args) {
				return id, fmt.Errorf("%s needs a value", arg)
			}
			value = args[i]
		}
		*into = value
	}
	if id.UUID == "random" && strings.HasPrefix(format, "ext") || id.UUID == "time" {
		id.UUID = "" // mke2fs(8): as if nothing were given
	}
	return id, id.check(format)
}

// cutFlag splits "-Lx" and "--label=x"; given is false when the value is the
// next argument.
func cutFlag(arg string) (name, value string, given bool) {
	switch {
	case strings.HasPrefix(arg, "--"):
		return strings.Cut(arg, "=")
	case len(arg) > 2 && arg[0] == '-':
		return arg[:2], arg[2:], true
	case len(arg) == 2 && arg[0] == '-':
		return arg, "", false
	}
	return "", "", false
}

// takeXFS takes the UUID out of the metadata options "crc=1,uuid=...".
func (id *Identity) takeXFS(options string) {
	var rest []string
	for _, o := range strings.Split(options, ",") {
		if value, ok := strings.CutPrefix(o, "uuid="); ok {
			id.UUID = value
			continue
		}
		rest = append(rest, o)
	}
	if len(rest) > 0 {
		id.Args = append(id.Args, "-m", strings.Join(rest, ","))
	}
}

// volumeID is the argument of mkfs.vfat -i.
var volumeID = lazyregexp.New(`^[0-9a-fA-F]{8}$`)

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
