package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/envscan"
)

// diskShowFlags are the flags of `vic disk show`.
type diskShowFlags struct {
	json    bool
	root    string
	timeout time.Duration
}

func newDiskShow(a *app) *cobra.Command {
	var f diskShowFlags
	cmd := &cobra.Command{
		Use:   "show [DEVICE|IMAGE]",
		Short: "Say what is on the disks of this machine, and who uses what",
		Long: `Say what is on the disks of this machine: tables, partitions, file systems,
arrays, logical volumes, containers, where they are mounted, and what has room.

DEVICE is any block device, of which the whole disk is shown; IMAGE is a file.
Nothing is written. Without root, what could not be read is listed at the end.`,
		Example: `  vic disk show
  vic disk show /dev/sda
  vic disk show out/web1.img --json`,
		Args: args("[DEVICE|IMAGE]"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, args) },
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "write JSON")
	cmd.Flags().StringVar(&f.root, "root", "/", "read the /sys, /proc and /dev below `DIR` instead")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "wait so long for devices that do not answer")
	return cmd
}

func (f *diskShowFlags) run(ctx context.Context, a *app, args []string) error {
	if f.timeout <= 0 {
		return usage("write a time such as 10s", "--timeout %v is no time to wait", f.timeout)
	}
	found, err := f.scan(ctx, args)
	if err != nil {
		return fail(exitRefused, err, "`vic disk show` lists the disks")
	}
	if f.json {
		return a.writeJSON(found)
	}
	return printDisks(a.stdout, found)
}

func (f *diskShowFlags) scan(ctx context.Context, args []string) (envscan.Disks, error) {
	c := envscan.Config{Root: f.root, Timeout: f.timeout}
	if len(args) == 0 {
		return envscan.ScanDisks(ctx, c)
	}
	path := args[0]
	if filepath.Clean(f.root) == "/" {
		st, err := os.Stat(path)
		if err == nil && st.Mode().IsRegular() {
			d, err := envscan.ScanImage(path)
			return envscan.Disks{Disk: []envscan.Disk{d}, Gaps: []envscan.Gap{}}, err
		}
	}
	name, err := f.kernelName(path)
	if err != nil {
		return envscan.Disks{}, err
	}
	found, err := envscan.ScanDisks(ctx, c, name)
	if err == nil && len(found.Disk) == 0 {
		err = fmt.Errorf("%s: there is no such disk", path)
	}
	return found, err
}

// kernelName finds the disk that a path means, or is a partition of.
func (f *diskShowFlags) kernelName(path string) (string, error) {
	root := sysfs.Root(f.root)
	name := filepath.Base(path)
	if filepath.Clean(f.root) == "/" {
		var err error
		if name, err = disk.KernelName(path); err != nil {
			return "", err
		}
	}
	name = root.Whole(name)
	if _, err := root.Disk(name); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: there is no such disk", path)
	}
	return name, nil
}
