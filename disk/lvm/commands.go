// Package lvm makes, resizes, activates and lists LVM's volume groups and
// logical volumes with LVM's own programs.
//
//	partitions --CreatePVs--> physical volumes --CreateVG--> group --CreateLV--> /dev/VG/LV
//
// It works with and without a udev daemon. It writes no backups of metadata to
// /etc/lvm of the machine that formats, and starts no monitoring there.
package lvm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/tool"
)

// LVM is how the programs are run.
type LVM struct {
	// Udev: a udev daemon runs and makes the nodes. See udev.Running.
	Udev bool
	// Devices are the only ones that the programs look at, past the filters in
	// the machine's lvm.conf. Empty: all that the filters let through.
	Devices []string
}

// config overrides lvm.conf.
func (l LVM) config() string {
	c := "backup{backup=0 archive=0} activation{monitoring=0}"
	if !l.Udev {
		c += " activation{udev_sync=0 udev_rules=0 verify_udev_operations=1}" +
			` devices{obtain_device_list_from_udev=0 external_device_info_source="none"}`
	}
	return c
}

// Command is one of LVM's programs: "vgs", "lvcreate", ....
func (l LVM) Command(name string, args ...string) tool.Cmd {
	all := []string{"--config", l.config()}
	if len(l.Devices) > 0 {
		all = append(all, "--devices", strings.Join(l.Devices, ","))
	}
	c := tool.Cmd{Name: name, Args: append(all, args...)}
	if !l.Udev {
		c.Env = []string{"DM_DISABLE_UDEV=1"}
	}
	return c
}

// CreatePVs makes physical volumes. A signature that is in the way is wiped;
// a volume of a group is not.
func (l LVM) CreatePVs(devices ...string) tool.Cmd {
	return l.Command("pvcreate", append([]string{"--yes"}, devices...)...)
}

// CreateVG makes a group of physical volumes.
func (l LVM) CreateVG(vg string, devices ...string) tool.Cmd {
	return l.Command("vgcreate", append([]string{"--yes", vg}, devices...)...)
}

// Volume is a logical volume to be made.
type Volume struct {
	VG, Name string
	// Size is lvcreate's: "10G", or in percent "100%FREE", which is rounded down
	// to whole extents; a number without a unit is in MiB.
	Size string
	// Type is lvcreate's: raid1, thin-pool, ...; "thin" (or disko's "thinlv")
	// is a thin volume of Pool.
	Type string
	Pool string
	Args []string
}

func (v Volume) thin() bool {
	return v.Type == "thin" || v.Type == "thinlv" || v.Type == "" && v.Pool != ""
}

// CreateLV makes a logical volume. Old signatures at its start are wiped.
func (l LVM) CreateLV(v Volume) (tool.Cmd, error) {
	percent := strings.Contains(v.Size, "%")
	args := []string{"--yes"}
	switch {
	case v.thin() && v.Pool == "":
		return tool.Cmd{}, fmt.Errorf("make volume %s/%s: a thin volume needs a pool", v.VG, v.Name)
	case v.thin() && percent:
		return tool.Cmd{}, fmt.Errorf("make volume %s/%s: size %s: a thin volume takes no percentage", v.VG, v.Name, v.Size)
	case v.thin():
		args = append(args, "--wipesignatures", "y", "--virtualsize", v.Size, "--thinpool", v.Pool)
	case v.Type == "thin-pool", v.Type == "thin_pool", v.Type == "cache-pool":
		args = append(args, "--type", v.Type) // pools have no content to wipe
	default:
		args = append(args, "--wipesignatures", "y", "--zero", "y")
		if v.Type != "" {
			args = append(args, "--type", v.Type)
		}
	}
	switch {
	case v.thin():
	case percent:
		args = append(args, "--extents", v.Size)
	default:
		args = append(args, "--size", v.Size)
	}
	args = append(args, "--name", v.Name)
	return l.Command("lvcreate", append(append(args, v.Args...), v.VG)...), nil
}

// Activate makes the volumes of a group usable.
func (l LVM) Activate(vg string) tool.Cmd {
	return l.Command("vgchange", "--activate", "y", vg)
}

// Deactivate is its opposite. It fails when a volume is in use.
func (l LVM) Deactivate(vg string) tool.Cmd {
	return l.Command("vgchange", "--activate", "n", vg)
}

// ResizePV gives a physical volume a size in bytes; 0: all of its device.
func (l LVM) ResizePV(device string, size int64) tool.Cmd {
	args := []string{"--yes"}
	if size > 0 {
		args = append(args, "--setphysicalvolumesize", strconv.FormatInt(size, 10)+"b")
	}
	return l.Command("pvresize", append(args, device)...)
}

// ResizeLV gives a volume a size in bytes, which LVM rounds up to whole
// extents. What is in it is not touched: shrink it before.
func (l LVM) ResizeLV(vg, lv string, size int64) tool.Cmd {
	return l.Command("lvresize", "--yes", "--force", "--size", strconv.FormatInt(size, 10)+"b", vg+"/"+lv)
}

// MoveTail moves what is in use from extent from on to before it, within one
// physical volume of that many extents.
func (l LVM) MoveTail(device string, from, extents int64) tool.Cmd {
	return l.move("--yes", "--alloc", "anywhere",
		fmt.Sprintf("%s:%d-%d", device, from, extents-1), fmt.Sprintf("%s:0-%d", device, from-1))
}

// ResumeMove goes on with moves that were interrupted, if there are any.
func (l LVM) ResumeMove() tool.Cmd { return l.move() }

// move is pvmove by LVM's one program, of which a small system may not have
// every name.
func (l LVM) move(args ...string) tool.Cmd {
	c := l.Command("lvm", args...)
	c.Args = append([]string{"pvmove"}, c.Args...)
	return c
}

// columns are those of a report, for each of its programs.
var columns = map[string]string{
	"pvs": "pv_name,pv_uuid,vg_name,pv_size,pv_free,pv_used,dev_size,pe_start,pv_missing",
	"vgs": "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,pv_count,lv_count,vg_missing_pv_count",
	"lvs": "vg_name,lv_name,lv_uuid,lv_size,segtype,pool_lv,lv_path,lv_active,lv_kernel_major,lv_kernel_minor",
}

// Report lists with pvs, vgs or lvs. Names after it choose.
func (l LVM) Report(program string, names ...string) tool.Cmd {
	args := []string{"--reportformat", "json", "--units", "b", "--nosuffix", "--options", columns[program]}
	return l.Command(program, slices.Concat(args, names)...)
}
