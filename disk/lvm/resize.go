package lvm

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/victorinix/vic/internal/tool"
)

// SetLV gives a volume a size in bytes, rounded up to whole extents, and
// returns the size that it has then. One that has it already is left alone.
// What is in it is shrunk before, or grown after it.
func (l LVM) SetLV(ctx context.Context, r tool.Runner, vg, lv string, size int64) (int64, error) {
	now, err := l.sizeLV(ctx, r, vg, lv)
	if err != nil {
		return 0, err
	}
	group, ok, err := l.FindVG(ctx, r, vg)
	if err == nil && (!ok || group.ExtentSize <= 0) {
		err = fmt.Errorf("there is no volume group %s", vg)
	}
	if err != nil {
		return now, fmt.Errorf("resize volume %s/%s: %w", vg, lv, err)
	}
	want := (size + group.ExtentSize - 1) / group.ExtentSize * group.ExtentSize
	if now == want {
		return now, nil
	}
	if _, err := r.Run(ctx, l.ResizeLV(vg, lv, want)); err != nil {
		return now, fmt.Errorf("resize volume %s/%s to %d bytes: %w", vg, lv, want, err)
	}
	return l.sizeLV(ctx, r, vg, lv)
}

func (l LVM) sizeLV(ctx context.Context, r tool.Runner, vg, lv string) (int64, error) {
	v, ok, err := l.FindLV(ctx, r, vg, lv)
	if err == nil && !ok {
		err = fmt.Errorf("there is no volume %s/%s", vg, lv)
	}
	return v.Size, err
}

// SetPV gives a physical volume of a group a size in bytes, from the start of
// its device, and returns how much of that it uses then: whole extents. One
// that has that many extents already is left alone. Extents in use beyond the
// size are an error of LVM's; see LeastPV.
func (l LVM) SetPV(ctx context.Context, r tool.Runner, device string, size int64) (int64, error) {
	pv, extent, err := l.findPV(ctx, r, device)
	if err != nil {
		return 0, err
	}
	want := pv.Start + max(size-pv.Start, 0)/extent*extent
	if pv.Start+pv.Size == want {
		return want, nil
	}
	if _, err := r.Run(ctx, l.ResizePV(device, want)); err != nil {
		return pv.Start + pv.Size, fmt.Errorf("resize physical volume %s to %d bytes: %w", device, want, err)
	}
	pv, _, err = l.findPV(ctx, r, device)
	return pv.Start + pv.Size, err
}

func (l LVM) findPV(ctx context.Context, r tool.Runner, device string) (PV, int64, error) {
	pv, ok, err := l.FindPV(ctx, r, device)
	if err != nil {
		return pv, 0, err
	}
	if !ok || pv.VG == "" {
		return pv, 0, fmt.Errorf("%s is no physical volume of a group", device)
	}
	vg, ok, err := l.FindVG(ctx, r, pv.VG)
	if err != nil {
		return pv, 0, err
	}
	if !ok || vg.ExtentSize <= 0 {
		return pv, 0, fmt.Errorf("there is no volume group %s", pv.VG)
	}
	return pv, vg.ExtentSize, nil
}

// segments lists the extents of a physical volume that are in use.
func (l LVM) segments(device string) tool.Cmd {
	return l.Command("pvs", "--reportformat", "json", "--segments", "--options", "pvseg_start,pvseg_size,lv_name", device)
}

// LeastPV is the least size in bytes that SetPV can give a physical volume:
// the end of its last extent in use. SetPV moves none.
func (l LVM) LeastPV(ctx context.Context, r tool.Runner, device string) (int64, error) {
	pv, extent, err := l.findPV(ctx, r, device)
	if err != nil {
		return 0, err
	}
	last, err := l.lastExtent(ctx, r, device)
	return pv.Start + max(last, 1)*extent, err
}

// lastExtent is the number of extents up to the last one in use.
func (l LVM) lastExtent(ctx context.Context, r tool.Runner, device string) (int64, error) {
	out, err := r.Run(ctx, l.segments(device))
	if err != nil {
		return 0, fmt.Errorf("list extents of %s: %w", device, err)
	}
	last, err := parseSegments(out.Stdout)
	if err != nil {
		return 0, fmt.Errorf("list extents of %s: %w", device, err)
	}
	return last, nil
}

// parseSegments finds the end of the last segment that belongs to a volume.
func parseSegments(text []byte) (int64, error) {
	var rep struct {
		Report []struct {
			Segments []map[string]string `json:"pvseg"`
			PVs      []map[string]string `json:"pv"`
		} `json:"report"`
	}
	if err := json.Unmarshal(text, &rep); err != nil {
		return 0, fmt.Errorf("read report of LVM: %w", err)
	}
	var last int64
	for _, part := range rep.Report {
		for _, s := range append(part.Segments, part.PVs...) {
			if s["lv_name"] == "" {
				continue
			}
			start, err := strconv.ParseInt(s["pvseg_start"], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read report of LVM: %w", err)
			}
			size, err := strconv.ParseInt(s["pvseg_size"], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read report of LVM: %w", err)
			}
			last = max(last, start+size)
		}
	}
	return last, nil
}
