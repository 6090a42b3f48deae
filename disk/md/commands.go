package md

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/victorinix/vic/internal/tool"
)

// Array is an array to be made.
type Array struct {
	Name     string // below /dev/md
	Level    string // 0, 1, 4, 5, 6, 10, linear, ...
	Metadata string // "1.2"; "" or "default" leaves it to mdadm
	UUID     string // in mdadm's form; see FormatUUID
	Members  []string
	Args     []string
}

// CreateCommand makes and starts an array. Its home host is "any", so that it
// has its name on every machine.
func CreateCommand(a Array) tool.Cmd {
	args := []string{"--create", node(a.Name), "--run", "--force", "--homehost=any",
		"--name=" + a.Name, "--level=" + a.Level, "--raid-devices=" + strconv.Itoa(len(a.Members))}
	if a.Metadata != "" && a.Metadata != "default" {
		args = append(args, "--metadata="+a.Metadata)
	}
	if a.UUID != "" {
		args = append(args, "--uuid="+a.UUID)
	}
	return tool.Cmd{Name: "mdadm", Args: slices.Concat(args, a.Args, a.Members)}
}

// AssembleCommand starts an array from those of the members that are its. It
// starts also when some are missing, as long as the data is there.
func AssembleCommand(name, uuid string, members []string) tool.Cmd {
	args := []string{"--assemble", node(name), "--run", "--homehost=any", "--uuid=" + uuid}
	return tool.Cmd{Name: "mdadm", Args: append(args, members...)}
}

// StopCommand stops an array; it fails when it is in use.
func StopCommand(device string) tool.Cmd {
	return tool.Cmd{Name: "mdadm", Args: []string{"--stop", device}}
}

// ZeroCommand clears the superblock of a device that is in no running array. No
// superblock is no error.
func ZeroCommand(device string) tool.Cmd {
	return tool.Cmd{Name: "mdadm", Args: []string{"--zero-superblock", device}}
}

// DetailCommand describes a running array, for ParseExport.
func DetailCommand(device string) tool.Cmd {
	return tool.Cmd{Name: "mdadm", Args: []string{"--detail", "--export", device}}
}

// ExamineCommand describes a member, for ParseExport.
func ExamineCommand(device string) tool.Cmd {
	return tool.Cmd{Name: "mdadm", Args: []string{"--examine", "--export", device}}
}

func node(name string) string { return "/dev/md/" + name }

// FormatUUID is a UUID in mdadm's form: four groups of eight digits.
func FormatUUID(id [16]byte) string {
	return fmt.Sprintf("%x:%x:%x:%x", id[:4], id[4:8], id[8:12], id[12:])
}
