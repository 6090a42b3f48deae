package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/victorinix/vic/internal/tool"
)

// check is how the file systems of a format are checked.
type check struct {
	name string
	// look only reads; fix repairs without questions what is safe to repair, nil
	// where nothing can be.
	look, fix []string
	// fixed are the exit codes of fix that mean: repaired, all is well now.
	fixed []int
}

var extCheck = check{"e2fsck", []string{"-f", "-n"}, []string{"-f", "-p"}, []int{1}}

var checks = map[string]check{
	"ext2": extCheck, "ext3": extCheck, "ext4": extCheck,
	"xfs":   {"xfs_repair", []string{"-n"}, []string{}, nil},
	"btrfs": {"btrfs", []string{"check", "--readonly"}, nil, nil},
	"f2fs":  {"fsck.f2fs", []string{"--dry-run"}, []string{"-a"}, nil},
	"vfat":  {"fsck.vfat", []string{"-n"}, []string{"-a"}, []int{1}},
	"exfat": {"fsck.exfat", []string{"-n"}, []string{"-p"}, []int{1}},
	"ntfs":  {"ntfsresize", []string{"--check", "--force"}, nil, nil},
}

// ErrNoRepair is wrapped where a format has no repair that can be left alone:
// btrfs, whose repair its authors warn of, and ntfs, which Windows repairs.
var ErrNoRepair = errors.New("there is no safe repair without a person")

// FsckCommand is the command that checks a file system that is not mounted.
// Without repair it only reads, and replays no journal.
func FsckCommand(format, device string, repair bool) (tool.Cmd, error) {
	k, ok := checks[format]
	switch {
	case !ok:
		return tool.Cmd{}, fmt.Errorf("check file system on %s: file system %q is not supported", device, format)
	case !repair:
		return tool.Cmd{Name: k.name, Args: append(slices.Clone(k.look), device)}, nil
	case k.fix == nil:
		return tool.Cmd{}, fmt.Errorf("repair %s on %s: %w", format, device, ErrNoRepair)
	}
	return tool.Cmd{Name: k.name, Args: append(slices.Clone(k.fix), device)}, nil
}

// Fsck checks a file system that is not mounted, and repairs it if told to. It
// is an error when the file system is not sound afterwards; what the program
// said is in it.
func Fsck(ctx context.Context, r tool.Runner, format, device string, repair bool) error {
	c, err := FsckCommand(format, device, repair)
	if err != nil {
		return err
	}
	out, err := r.Run(ctx, c)
	var te *tool.Error
	if repair && errors.As(err, &te) && slices.Contains(checks[format].fixed, te.Exit) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check file system on %s: %w%s", device, err, said(out))
	}
	return nil
}

// said is the end of what a program printed on standard output: the fsck
// programs report there.
func said(out tool.Output) string {
	const most = 500
	b := out.Stdout
	if len(b) == 0 {
		return ""
	}
	return ": " + string(b[max(0, len(b)-most):])
}
