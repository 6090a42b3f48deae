package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
)

// Anywhere is the Scan.Version of the facts of no machine: those that an image
// is made with, which is for any.
const Anywhere = "anywhere"

// errAnywhere is why a template cannot be filled in for an image.
var errAnywhere = errors.New("is known only on the machine itself, and an image is for any: give the option a value, or vic install the item there")

// NewImage computes how a disk of size bytes is made that boots on any machine:
// the system is the one that New would install there, but for what only a
// machine knows.
//
//	network      one file for all cards, not one for each
//	host keys    made at the first boot, not now
//	the disk     the last file system grows at the first boot to the disk's size
//	boot entry   none: the firmware finds the fallback path
//
// The steps are a subset of those of New, in its order, without those that look
// at a machine, or clear what was on a disk.
func NewImage(req request.Request, size int64, secrets []string) (Plan, error) {
	if err := req.System.Check(); err != nil {
		return Plan{}, fmt.Errorf("request: %w", err)
	}
	t, err := newAnywhere(req, size)
	if err != nil {
		return Plan{}, err
	}
	if err := t.check(secrets); err != nil {
		return Plan{}, err
	}
	var steps stepList
	for _, s := range t.storage.Create {
		if makes(s.Action) {
			steps = append(steps, s)
		}
	}
	steps.add(event.Inject, t.inject()...)
	steps.add(event.Boot, t.boot()...)
	p := Plan{Version: 2, Item: req.Item, Storage: t.storage, Steps: steps, Warnings: t.warnings()}
	p.Result = event.Result{Hostname: t.req.System.Hostname, Kernel: req.Payload.Kernel, RootUUID: t.root().UUID}
	return p, nil
}

// makes says whether an action on a disk does anything to a blank one.
func makes(a Action) bool {
	switch a := a.(type) {
	case storage.CheckState, storage.Release, storage.Wipe:
		return false
	case storage.WriteTable:
		return !a.Unfinished
	}
	return true
}

func newAnywhere(req request.Request, size int64) (target, error) {
	facts := envscan.Facts{Schema: envscan.Schema, Scan: envscan.Report{Version: Anywhere}, OS: envscan.OS{Type: "linux"}, HW: envscan.HW{Arch: req.Payload.Arch}}
	if err := Unmet(req.System.Requires, facts); err != nil {
		return target{}, err
	}
	l := newLate(req.System, facts)
	system, settingsErr := l.system(req.System)
	files, filesErr := l.injected(req.System)
	if err := errors.Join(settingsErr, filesErr); err != nil {
		return target{}, err
	}
	req.System = system
	t := target{req: req, facts: facts, injected: files, anywhere: true}
	return t, t.onImage(size)
}

// onImage plans the disk, twice: what grows is known when it is known what
// comes last.
func (t *target) onImage(size int64) error {
	names := slices.Sorted(maps.Keys(t.req.Layout.Disk))
	if len(names) != 1 {
		return fmt.Errorf("an image is one disk, and the layout has %d (%s): vic install --vm makes them all", len(names), strings.Join(names, ", "))
	}
	disks := map[string]storage.State{names[0]: {Disk: Disk{Device: "the image", Size: size, SectorSize: 512}}}
	seed, err := rootID(t.req, disks)
	if err != nil {
		return err
	}
	for {
		if t.storage, err = storage.New(storage.Config{Layout: t.req.Layout, Disks: disks, Seed: seed, Anew: true}); err != nil {
			return err
		}
		if t.grows != "" || t.storage.Disks[0].After == nil {
			return nil
		}
		last := lastEntry(*t.storage.Disks[0].After)
		grown, ok := growing(t.req.Layout.Disk[names[0]], last.Name)
		if !ok {
			return nil
		}
		t.grows = last.Name
		t.req.Layout.Disk = map[string]layout.Disk{names[0]: grown}
	}
}

// lastEntry is the partition with nothing but free space behind it.
func lastEntry(t layout.Table) layout.Entry {
	return slices.MaxFunc(t.Entries, func(a, b layout.Entry) int { return cmp.Compare(a.LastLBA, b.LastLBA) })
}

// growOption has systemd grow a file system when it is mounted
// (systemd.mount(5)).
const growOption = "x-systemd.growfs"

// growing is the disk with a partition that grows; ok is false when what is in
// it cannot.
func growing(d layout.Disk, partition string) (grown layout.Disk, ok bool) {
	table := *d.Content
	switch s := table.Spec.(type) {
	case *layout.GPT:
		copied := *s
		copied.Partitions = maps.Clone(s.Partitions)
		p := copied.Partitions[partition]
		if p.Content, ok = growingContent(p.Content); !ok {
			return d, false
		}
		copied.Partitions[partition] = p
		table.Spec = &copied
	case *layout.MBR:
		copied := *s
		copied.Partitions = slices.Clone(s.Partitions)
		i := 0
		for i < len(copied.Partitions) && cmp.Or(copied.Partitions[i].Name, strconv.Itoa(i+1)) != partition {
			i++
		}
		if i == len(copied.Partitions) || copied.Partitions[i].PartType == "logical" { // its extended one would have to grow first
			return d, false
		}
		if copied.Partitions[i].Content, ok = growingContent(copied.Partitions[i].Content); !ok {
			return d, false
		}
		table.Spec = &copied
	default:
		return d, false
	}
	d.Content = &table
	return d, true
}

// growingContent is a file system that systemd grows when it is mounted.
func growingContent(c *layout.Content) (*layout.Content, bool) {
	if c == nil {
		return nil, false
	}
	fs, ok := c.Spec.(*layout.Filesystem)
	if !ok || fs.Mountpoint == "" || !slices.Contains([]string{"ext3", "ext4"}, fs.Format) {
		return c, false
	}
	content, grown := *c, *fs
	grown.MountOptions = append(slices.Clone(options(fs.MountOptions)), growOption)
	content.Spec = &grown
	return &content, true
}

// options are mount options as fstab has them when there are none.
func options(list []string) []string {
	if len(list) == 0 {
		return []string{"defaults"}
	}
	return list
}

// firstBoot are the files that finish the system on the machine that the image
// gets onto.
func (t target) firstBoot() []named {
	s := []named{t.file(hostKeyUnit, hostKeyService)}
	for _, unit := range []string{"ssh.service", "ssh.socket"} {
		link := "/etc/systemd/system/" + unit + ".wants/vic-ssh-host-keys.service"
		s = append(s, named{link, Symlink{link, hostKeyUnit}})
	}
	return append(s, t.growth()...)
}

const (
	hostKeyUnit = "/etc/systemd/system/vic-ssh-host-keys.service"
	// Debian makes the keys when the package is installed; its
	// sshd-keygen.service only where there was no machine-id, when systemd sets
	// all units to their presets too.
	hostKeyService = "[Unit]\nDescription=Make SSH host keys\nConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key\nBefore=ssh.service ssh.socket\n\n" +
		"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/ssh-keygen -A\n\n" +
		"[Install]\nWantedBy=ssh.service ssh.socket\n"
)

// growth has systemd-repart(8) enlarge the last partition. Its definitions stand
// for partitions of a type in the order they have on the disk, so those before it
// have one too, and stay as they are.
func (t target) growth() []named {
	if t.grows == "" {
		return nil
	}
	table := t.storage.Disks[0].After
	last := lastEntry(*table)
	if table.Kind == layout.KindMBR {
		return t.growthMBR(last.Number)
	}
	same := slices.DeleteFunc(slices.Clone(table.Entries), func(e layout.Entry) bool { return e.Type != last.Type })
	slices.SortFunc(same, func(a, b layout.Entry) int { return cmp.Compare(a.FirstLBA, b.FirstLBA) })
	var s []named
	for i, e := range same {
		text := "[Partition]\nType=" + e.Type.String() + "\n"
		if e.Number != last.Number {
			text += fmt.Sprintf("Weight=0\nSizeMaxBytes=%d\n", e.Size(table.SectorSize))
		}
		s = append(s, t.file(fmt.Sprintf("/etc/repart.d/%d-vic.conf", 10+i), text))
	}
	return s
}

// imageWarnings are what is left to the machine that the image gets onto.
func (t target) imageWarnings() []string {
	var w []string
	for _, r := range t.req.System.Requires {
		w = append(w, fmt.Sprintf("the item requires %s: the machine that the image gets onto is not known", r))
	}
	if t.grows == "" {
		w = append(w, fmt.Sprintf("nothing grows on a larger disk: partition %q is the last, and is no ext3 or ext4 that is mounted", lastEntry(*t.storage.Disks[0].After).Name))
	}
	return w
}

// wishedLinks are the files for cards that were named, on any machine that has
// them.
func (t target) wishedLinks() []named {
	var s []named
	for _, w := range t.req.System.Network.NICs {
		match := ""
		for _, line := range [][2]string{{"PermanentMACAddress", w.MAC}, {"Path", w.Path}, {"Driver", w.Driver}} {
			if line[1] != "" {
				match += line[0] + "=" + line[1] + "\n"
			}
		}
		s = append(s, t.link(w.Name, match))
	}
	return s
}

// anyCard matches every wired card, and nothing that only software made.
const anyCard = "Type=ether\nKind=!*\n"
