package lvm

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
)

// PV is a physical volume. Sizes are in bytes.
type PV struct {
	Device     string `json:"pv_name"`
	UUID       string `json:"pv_uuid"`
	VG         string `json:"vg_name"`
	Size       int64  `json:"pv_size,string"` // of what holds extents, or would
	Free       int64  `json:"pv_free,string"`
	Used       int64  `json:"pv_used,string"`
	DeviceSize int64  `json:"dev_size,string"`
	Start      int64  `json:"pe_start,string"` // of the first extent
	Missing    string `json:"pv_missing"`      // "missing" or ""
}

// VG is a volume group.
type VG struct {
	Name       string `json:"vg_name"`
	UUID       string `json:"vg_uuid"`
	Size       int64  `json:"vg_size,string"`
	Free       int64  `json:"vg_free,string"`
	ExtentSize int64  `json:"vg_extent_size,string"`
	PVs        int    `json:"pv_count,string"`
	LVs        int    `json:"lv_count,string"`
	Missing    int    `json:"vg_missing_pv_count,string"` // physical volumes
}

// LV is a logical volume that people see: not the parts of one.
type LV struct {
	VG     string `json:"vg_name"`
	Name   string `json:"lv_name"`
	UUID   string `json:"lv_uuid"`
	Size   int64  `json:"lv_size,string"`
	Type   string `json:"segtype"` // linear, raid1, thin-pool, thin, ...
	Pool   string `json:"pool_lv"`
	Path   string `json:"lv_path"`   // /dev/VG/LV; "" of a pool
	Active string `json:"lv_active"` // "active", or ""
	Major  int    `json:"lv_kernel_major,string"`
	Minor  int    `json:"lv_kernel_minor,string"` // -1 unless active
}

// report is the form of --reportformat json, lvmreport(7).
type report struct {
	Report []struct {
		PV []PV `json:"pv"`
		VG []VG `json:"vg"`
		LV []LV `json:"lv"`
	} `json:"report"`
}

func parse(text []byte) (pvs []PV, vgs []VG, lvs []LV, err error) {
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, nil, nil, fmt.Errorf("read report of LVM: %w", err)
	}
	for _, part := range r.Report {
		pvs, vgs, lvs = append(pvs, part.PV...), append(vgs, part.VG...), append(lvs, part.LV...)
	}
	return pvs, vgs, lvs, nil
}

func (l LVM) report(ctx context.Context, r tool.Runner, program string) ([]PV, []VG, []LV, error) {
	out, err := r.Run(ctx, l.Report(program))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("list LVM: %w", err)
	}
	return parse(out.Stdout)
}

// PVs lists all physical volumes.
func (l LVM) PVs(ctx context.Context, r tool.Runner) ([]PV, error) {
	pvs, _, _, err := l.report(ctx, r, "pvs")
	return pvs, err
}

// VGs lists all groups.
func (l LVM) VGs(ctx context.Context, r tool.Runner) ([]VG, error) {
	_, vgs, _, err := l.report(ctx, r, "vgs")
	return vgs, err
}

// LVs lists all volumes.
func (l LVM) LVs(ctx context.Context, r tool.Runner) ([]LV, error) {
	_, _, lvs, err := l.report(ctx, r, "lvs")
	return lvs, err
}

// FindLV looks for a volume.
func (l LVM) FindLV(ctx context.Context, r tool.Runner, vg, lv string) (LV, bool, error) {
	lvs, err := l.LVs(ctx, r)
	for _, v := range lvs {
		if v.VG == vg && v.Name == lv {
			return v, true, err
		}
	}
	return LV{}, false, err
}

// FindVG looks for a group.
func (l LVM) FindVG(ctx context.Context, r tool.Runner, vg string) (VG, bool, error) {
	vgs, err := l.VGs(ctx, r)
	for _, v := range vgs {
		if v.Name == vg {
			return v, true, err
		}
	}
	return VG{}, false, err
}

// FindPV looks for the physical volume on a device, by any of its names.
func (l LVM) FindPV(ctx context.Context, r tool.Runner, device string) (PV, bool, error) {
	pvs, err := l.PVs(ctx, r)
	for _, v := range pvs {
		if sameDevice(v.Device, device) {
			return v, true, err
		}
	}
	return PV{}, false, err
}

// sameDevice: LVM calls a device by the name that it prefers.
func sameDevice(a, b string) bool {
	if a == b {
		return true
	}
	var x, y unix.Stat_t
	err1, err2 := unix.Stat(a, &x), unix.Stat(b, &y)
	return err1 == nil && err2 == nil && x.Mode&unix.S_IFMT == unix.S_IFBLK && x.Rdev == y.Rdev
}
