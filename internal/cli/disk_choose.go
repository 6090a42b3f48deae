package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	planned "github.com/victorinix/vic/internal/plan/storage"
)

// disks are those that the layout means, with what is on them. A device that
// is named may be of a kind that no layout would choose, such as a loop device.
func (j *diskJob) disks(ctx context.Context, l layout.Layout, given map[string]string) (map[string]planned.State, error) {
	chosen, err := selectors(l, given)
	if err != nil {
		return nil, err
	}
	var named []string
	all := true
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		device := chosen[name].Device
		if device == "" && l.Disk[name].Match == nil {
			device = l.Disk[name].Device
		}
		if device == "" {
			all = false
			continue
		}
		kernel, err := disk.KernelName(device)
		if j.degraded && errors.Is(err, os.ErrNotExist) {
			j.miss(name)
			continue
		}
		if err != nil {
			return nil, fail(exitRefused, fmt.Errorf("disk %q of the layout: %w", name, err), "`vic disk show` lists the disks; nothing was touched")
		}
		sel := chosen[name]
		sel.Device = sysfs.Node(kernel)
		chosen[name] = sel
		named = append(named, kernel)
	}
	facts, err := j.facts(ctx, named, all)
	if err != nil {
		return nil, err
	}
	found, err := j.choose(l, chosen, facts)
	return found, fail(exitRefused, err, "give whole disks, not partitions; `vic disk show` lists them")
}

// facts are about all disks, and those that are named. Where the layout has no
// other, and they are there, they are all that is looked at.
func (j *diskJob) facts(ctx context.Context, named []string, enough bool) (facts envscan.Facts, err error) {
	usual, err := sysfs.Root("/").Disks()
	if err != nil {
		return facts, err
	}
	for _, name := range named {
		if !slices.Contains(usual, name) && !slices.Contains(j.names, name) {
			j.names = append(j.names, name)
		}
	}
	look := slices.Concat(usual, j.names)
	if enough && len(named) > 0 {
		look = slices.Compact(slices.Sorted(slices.Values(named)))
	}
	found, err := envscan.ScanDisks(ctx, envscan.Config{Root: "/", Timeout: plan.ScanPatience}, look...)
	if err == nil && enough && len(found.Disk) < len(look) { // no whole disk: the error lists those that are
		return j.facts(ctx, named, false)
	}
	facts.HW.Disk, facts.Scan.Gaps = found.Disk, found.Gaps
	return facts, err
}

// seedOf derives identifiers from the disks: the same disks get the same ones.
func seedOf(disks map[string]planned.State) uuid.UUID {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(disks)) {
		d := disks[name]
		words = append(words, fmt.Sprintf("%s %s %s %s %d", name, d.Serial, d.WWN, d.Path, d.Size))
	}
	return uuid.NewSHA1(diskNamespace, []byte(strings.Join(words, "\n")))
}

// diskNamespace is the version 5 UUID namespace of disks (RFC 9562 §5.5).
var diskNamespace = uuid.MustParse("0e2f7f0e-5f5a-4c0e-8d52-6c0a8f2b9a11")
