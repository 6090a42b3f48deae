package layout

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// settle makes a Filesystem of a content of that type, without its UUID unless
// extraArgs give it. mkfs's options for the UUID and the label are taken out
// of the extra arguments, because the UUID is also what fstab names.
func settle(f Content) (*Filesystem, error) {
	fs := &Filesystem{Format: f.Format, Mountpoint: f.Mountpoint, Options: f.MountOptions}
	if len(fs.Options) == 0 {
		fs.Options = []string{"defaults"}
	}
	flags := map[string]*string{"-U": &fs.UUID, "-L": &fs.Label}
	if f.Format == "vfat" {
		flags = map[string]*string{"-i": &fs.UUID, "-n": &fs.Label}
	}
	for i := 0; i < len(f.ExtraArgs); i++ {
		arg := f.ExtraArgs[i]
		if len(arg) < 2 || flags[arg[:2]] == nil {
			fs.ExtraArgs = append(fs.ExtraArgs, arg)
			continue
		}
		value := arg[2:]
		if value == "" {
			if i++; i == len(f.ExtraArgs) {
				return nil, fmt.Errorf("%s needs a value", arg)
			}
			value = f.ExtraArgs[i]
		}
		*flags[arg[:2]] = value
	}
	return fs, fs.check()
}

var volumeID = regexp.MustCompile(`^[0-9a-fA-F]{8}$`)

// check brings an explicit UUID into blkid's form and bounds the label.
func (f *Filesystem) check() error {
	most := 16
	if f.Format == "vfat" {
		most = 11
		if plain := strings.ReplaceAll(f.UUID, "-", ""); volumeID.MatchString(plain) {
			f.UUID = strings.ToUpper(plain[:4] + "-" + plain[4:])
		} else if f.UUID != "" {
			return fmt.Errorf("volume id %q is not eight hexadecimal digits", f.UUID)
		}
	} else if f.UUID != "" && !guidPattern.MatchString(f.UUID) {
		return fmt.Errorf("%q is not a UUID", f.UUID)
	}
	if len(f.Label) > most {
		return fmt.Errorf("label %q is longer than %d bytes", f.Label, most)
	}
	return nil
}

// identify gives the file system a UUID derived from seed, if it has none.
func (f *Filesystem) identify(seed uuid.UUID, name string) {
	if f.UUID != "" {
		return
	}
	id := uuid.NewSHA1(seed, []byte(name))
	f.UUID = id.String()
	if f.Format == "vfat" {
		f.UUID = fmt.Sprintf("%04X-%04X", id[0:2], id[2:4])
	}
}
