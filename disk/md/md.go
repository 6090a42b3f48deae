// Package md makes, starts, stops and finds the kernel's software RAID arrays
// with mdadm.
//
// An array is known by its UUID. /dev/md/NAME is a link that udev makes, or
// mdadm where no udev daemon runs; where neither did, Node finds the array in
// sysfs.
package md

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
)

func run(ctx context.Context, r tool.Runner, c tool.Cmd) (tool.Output, error) {
	c.Env = append(c.Env, udev.Env()...)
	return r.Run(ctx, c)
}

// Create makes and starts an array, and returns its node.
func Create(ctx context.Context, r tool.Runner, a Array) (string, error) {
	if len(a.Members) == 0 {
		return "", fmt.Errorf("make array %s: no members", a.Name)
	}
	if _, err := run(ctx, r, CreateCommand(a)); err != nil {
		return "", fmt.Errorf("make array %s: %w", a.Name, err)
	}
	return settled(ctx, r, a.Name, a.UUID)
}

// Assemble starts an array that exists and returns its node. It does nothing
// when the array runs already.
func Assemble(ctx context.Context, r tool.Runner, name, uuid string, members []string) (string, error) {
	if dev, found, err := Find(ctx, r, uuid); err != nil {
		return "", err
	} else if found {
		return best(name, dev), nil
	}
	if _, err := run(ctx, r, AssembleCommand(name, uuid, members)); err != nil {
		return "", fmt.Errorf("start array %s: %w", name, err)
	}
	return settled(ctx, r, name, uuid)
}

// Missing is how many of its devices a running array lacks, by its kernel name.
// An array of a level without redundancy lacks none, or does not run.
func Missing(root sysfs.Root, name string) (int, error) {
	n, err := root.Number("sys/block", name, "md/degraded")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("see if array %s is whole: %w", name, err)
	}
	return int(n), nil
}

// settled waits for udev and finds the node.
func settled(ctx context.Context, r tool.Runner, name, uuid string) (string, error) {
	if err := udev.Settle(ctx, r); err != nil {
		return "", err
	}
	return Node(ctx, r, name, uuid)
}

// ErrNotRunning is wrapped by Node when no array with that UUID runs.
var ErrNotRunning = errors.New("the array does not run")

// Node is the node of a running array: /dev/md/NAME, or /dev/mdN where that
// link is missing or belongs to another.
func Node(ctx context.Context, r tool.Runner, name, uuid string) (string, error) {
	dev, found, err := Find(ctx, r, uuid)
	if err == nil && !found {
		err = ErrNotRunning
	}
	if err != nil {
		return "", fmt.Errorf("find array %s (%s): %w", name, uuid, err)
	}
	return best(name, dev), nil
}

// best prefers the link, when it leads to the device.
func best(name, dev string) string {
	if target, err := filepath.EvalSymlinks(node(name)); err == nil && target == dev {
		return node(name)
	}
	return dev
}

// Find looks for a running array by its UUID and returns its node, /dev/mdN.
func Find(ctx context.Context, r tool.Runner, uuid string) (string, bool, error) {
	root := sysfs.Root("/")
	names, err := root.Names("sys/block")
	if err != nil {
		return "", false, fmt.Errorf("list arrays: %w", err)
	}
	for _, name := range names {
		state, err := root.Text("sys/block", name, "md/array_state")
		if errors.Is(err, fs.ErrNotExist) || state == "clear" {
			continue // no array, or one that was stopped
		}
		if err != nil {
			return "", false, fmt.Errorf("list arrays: %w", err)
		}
		id, err := uuidOf(ctx, r, name)
		if err != nil {
			return "", false, err
		}
		if sameUUID(id, uuid) || sameUUID(swapped(id), uuid) {
			return sysfs.Node(name), true, nil
		}
	}
	return "", false, nil
}

// uuidOf asks sysfs, which knows it from Linux 6.0 on, and mdadm otherwise.
func uuidOf(ctx context.Context, r tool.Runner, name string) (string, error) {
	if id, err := sysfs.Root("/").Text("sys/block", name, "md/uuid"); err == nil {
		return id, nil
	}
	d, err := Detail(ctx, r, sysfs.Node(name))
	return d.UUID, err
}

// sameUUID compares two in any form.
func sameUUID(a, b string) bool {
	plain := strings.NewReplacer("-", "", ":", "")
	a, b = plain.Replace(strings.ToLower(a)), plain.Replace(strings.ToLower(b))
	return a == b && len(a) == 32
}

// swapped turns the bytes of each group of four around: metadata 0.90 has
// numbers there, which sysfs shows as bytes and mdadm as numbers.
func swapped(id string) string {
	b, err := hex.DecodeString(strings.NewReplacer("-", "", ":", "").Replace(id))
	if err != nil || len(b)%4 != 0 {
		return id
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	return hex.EncodeToString(b)
}

// Info is what mdadm says of an array or of a member.
type Info struct {
	Name     string // without the home host
	Level    string // raid1, ...
	Metadata string
	UUID     string // in mdadm's form
	Devices  string // how many it has when it is whole
}

// ParseExport reads the output of mdadm --export: KEY=VALUE lines.
func ParseExport(text []byte) Info {
	v := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			v[key] = value
		}
	}
	name := v["MD_NAME"]
	if _, own, ok := strings.Cut(name, ":"); ok {
		name = own
	}
	if name == "" {
		name = v["MD_DEVNAME"]
	}
	return Info{Name: name, Level: v["MD_LEVEL"], Metadata: v["MD_METADATA"], UUID: v["MD_UUID"], Devices: v["MD_DEVICES"]}
}

// Detail describes a running array.
func Detail(ctx context.Context, r tool.Runner, device string) (Info, error) {
	out, err := run(ctx, r, DetailCommand(device))
	if err != nil {
		return Info{}, fmt.Errorf("describe array %s: %w", device, err)
	}
	return ParseExport(out.Stdout), nil
}

// Examine describes a member by its superblock. A device without one is an
// error of mdadm's.
func Examine(ctx context.Context, r tool.Runner, device string) (Info, error) {
	out, err := run(ctx, r, ExamineCommand(device))
	if err != nil {
		return Info{}, fmt.Errorf("describe member %s: %w", device, err)
	}
	return ParseExport(out.Stdout), nil
}

// Stop stops an array; no error when there is none.
func Stop(ctx context.Context, r tool.Runner, device string) error {
	if _, err := os.Stat(device); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := run(ctx, r, StopCommand(device)); err != nil {
		return fmt.Errorf("stop array %s: %w", device, err)
	}
	return udev.Settle(ctx, r)
}

// Zero clears the superblock of a former member.
func Zero(ctx context.Context, r tool.Runner, device string) error {
	if _, err := run(ctx, r, ZeroCommand(device)); err != nil {
		return fmt.Errorf("clear superblock of %s: %w", device, err)
	}
	return nil
}
