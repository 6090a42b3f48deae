package lvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// volumes is LVM in memory: one physical volume of a group with extents of
// 4 MiB, and where its volumes are, in extents. It dies at the effect that
// dies says, before or after it.
type volumes struct {
	extents int64
	lvs     []segment
	pvs     int
	log     []string
	count   int
	dies    int
	after   bool
}

type segment struct {
	lv          string
	start, size int64
}

const ext = 4 << 20

var errDied = errors.New("the machine died")

func (v *volumes) effect(what string, do func() error) error {
	v.count++
	if v.count == v.dies && !v.after {
		return errDied
	}
	v.log = append(v.log, what)
	if err := do(); err != nil {
		return err
	}
	if v.count == v.dies {
		return errDied
	}
	return nil
}

func (v *volumes) used() (n int64) {
	for _, s := range v.lvs {
		n += s.size
	}
	return n
}

func (v *volumes) Run(_ context.Context, c tool.Cmd) (tool.Output, error) {
	last := c.Args[len(c.Args)-1]
	text, err := "", error(nil)
	switch {
	case c.Name == "pvs" && slices.Contains(c.Args, "--segments"):
		var list []string
		for _, s := range v.lvs {
			list = append(list, fmt.Sprintf(`{"pvseg_start":"%d","pvseg_size":"%d","lv_name":%q}`, s.start, s.size, s.lv))
		}
		list = append(list, `{"pvseg_start":"0","pvseg_size":"9999","lv_name":""}`)
		text = `{"report":[{"pvseg":[` + strings.Join(list, ",") + `]}]}`
	case c.Name == "pvs":
		text = fmt.Sprintf(`{"report":[{"pv":[{"pv_name":"/dev/x","vg_name":"g","pv_size":"%d","pv_free":"%d","pv_used":"%d","dev_size":"0","pe_start":"1048576"}]}]}`, v.extents*ext, (v.extents-v.used())*ext, v.used()*ext)
	case c.Name == "vgs":
		text = fmt.Sprintf(`{"report":[{"vg":[{"vg_name":"g","vg_size":"0","vg_free":"%d","vg_extent_size":"%d","pv_count":"%d","lv_count":"0","vg_missing_pv_count":"0"}]}]}`, (v.extents-v.used())*ext, ext, v.pvs)
	case c.Name == "lvs":
		var list []string
		for _, s := range v.lvs {
			list = append(list, fmt.Sprintf(`{"vg_name":"g","lv_name":%q,"lv_size":"%d","lv_kernel_major":"1","lv_kernel_minor":"1"}`, s.lv, s.size*ext))
		}
		text = `{"report":[{"lv":[` + strings.Join(list, ",") + `]}]}`
	case c.Name == "lvm" && len(c.Args) == 3:
	default:
		err = v.change(c, last)
	}
	return tool.Output{Stdout: []byte(text)}, err
}

// size is a number of extents, of an argument in bytes.
func size(c tool.Cmd, option string) int64 {
	i := slices.Index(c.Args, option)
	n, err := strconv.ParseInt(strings.TrimSuffix(c.Args[i+1], "b"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (v *volumes) change(c tool.Cmd, last string) error {
	switch c.Name {
	case "lvresize":
		n := size(c, "--size") / ext
		return v.effect(fmt.Sprintf("%s is %d", last, n), func() error {
			for i := range v.lvs {
				if "g/"+v.lvs[i].lv == last {
					v.lvs[i].size = n
				}
			}
			return nil
		})
	case "lvm":
		return v.effect("move", func() error {
			at := int64(0)
			for i := range v.lvs {
				v.lvs[i].start = at
				at += v.lvs[i].size
			}
			return nil
		})
	case "pvresize":
		n := (size(c, "--setphysicalvolumesize") - 1<<20) / ext
		return v.effect(fmt.Sprintf("pv is %d", n), func() error {
			for _, s := range v.lvs {
				if s.start+s.size > n {
					return errors.New("extents are in use")
				}
			}
			v.extents = n
			return nil
		})
	}
	return fmt.Errorf("unexpected %s", c)
}

// newVolumes has a hole as soon as home is smaller, like a swap behind the root.
func newVolumes() *volumes {
	return &volumes{extents: 100, pvs: 1, lvs: []segment{{"home", 0, 60}, {"swap", 60, 10}}}
}

// fit is a run; the content's size comes into the log.
func (v *volumes) fit(lv string, size int64) Fit {
	return Fit{Device: "/dev/x", Size: size, LV: lv, Content: func(n int64) error {
		return v.effect(fmt.Sprintf("content is %d", n/ext), func() error {
			for _, s := range v.lvs {
				if s.lv == lv && n > s.size*ext {
					return errors.New("the content is larger than its volume")
				}
			}
			return nil
		})
	}}
}

func TestFit(t *testing.T) {
	for name, tt := range map[string]struct {
		lv   string
		size int64
		grow bool
		want string
	}{
		"free extents are enough":      {"home", 1<<20 + 75*ext + 5, false, "pv is 75"},
		"nothing to do":                {"home", 1<<20 + 100*ext, false, ""},
		"the volume gives":             {"home", 1<<20 + 50*ext + 9, false, "content is 40, g/home is 40, move, pv is 50"},
		"the last volume gives":        {"swap", 1<<20 + 65*ext, false, "content is 5, g/swap is 5, pv is 65"},
		"free, and no volume is named": {"", 1<<20 + 70*ext, false, "pv is 70"},
		"grow":                         {"home", 1<<20 + 120*ext, true, "pv is 120, g/home is 110, content is 110"},
		"grow without a volume":        {"", 1<<20 + 120*ext, true, "pv is 120"},
		"grown already":                {"home", 1<<20 + 100*ext, true, "g/home is 90, content is 90"},
	} {
		run := LVM{}.Shrink
		if tt.grow {
			run = LVM{}.Grow
		}
		v := newVolumes()
		if err := run(t.Context(), v, v.fit(tt.lv, tt.size)); err != nil || strings.Join(v.log, ", ") != tt.want {
			t.Errorf("%s: got %q %v, want %s", name, v.log, err, tt.want)
		}
		// Killed before and after each effect, the same call finishes it.
		for dies := 1; dies <= v.count; dies++ {
			for _, after := range []bool{false, true} {
				w := newVolumes()
				w.dies, w.after = dies, after
				if err := run(t.Context(), w, w.fit(tt.lv, tt.size)); !errors.Is(err, errDied) {
					t.Fatalf("%s: died at %d: %v", name, dies, err)
				}
				if err := run(t.Context(), w, w.fit(tt.lv, tt.size)); err != nil || !slices.Equal(v.lvs, w.lvs) || v.extents != w.extents {
					t.Errorf("%s: died at %d, after %t: %v %+v, want %+v", name, dies, after, err, w, v)
				}
			}
		}
	}
}

func TestFitRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		lv   string
		size int64
		pvs  int
		want string
	}{
		"no volume":      {"", 1<<20 + 69*ext, 1, "4194304 bytes too many are in use, and no volume of g gives them"},
		"too small":      {"swap", 1<<20 + 60*ext, 1, "41943040 bytes too many are in use, and g/swap has 41943040"},
		"unknown":        {"var", 1<<20 + 60*ext, 1, "there is no volume g/var"},
		"smaller than 0": {"home", 5, 1, "are in use, and g/home has"},
		"several":        {"home", 1<<20 + 60*ext, 2, "volume group g stands on 2 physical volumes"},
	} {
		v := newVolumes()
		v.pvs = tt.pvs
		err := LVM{}.Shrink(t.Context(), v, v.fit(tt.lv, tt.size))
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(v.log) > 0 {
			t.Errorf("%s: %v %q", name, err, v.log)
		}
	}
	v := newVolumes()
	f := v.fit("home", 1<<20+50*ext)
	full := errors.New("it is full")
	f.Content = func(int64) error { return full }
	if err := (LVM{}).Shrink(t.Context(), v, f); !errors.Is(err, full) || len(v.log) > 0 {
		t.Errorf("a content that does not fit: %v %q", err, v.log)
	}
}

// TestFitReal shrinks a physical volume below a volume that is not the last,
// and grows it again. It needs device mapper.
func TestFitReal(t *testing.T) {
	tooltest.Root(t)
	r := tooltest.Need(t, "pvcreate", "lvm", "losetup")
	if _, err := os.Stat("/sys/class/misc/device-mapper"); err != nil {
		t.Skip("this kernel has no device mapper")
	}
	dev := tooltest.Loop(t, 200<<20)
	l := LVM{Udev: udev.Running(), Devices: []string{dev}}
	vg := "vic" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	do := func(c tool.Cmd) {
		t.Helper()
		if out, err := r.Run(t.Context(), c); err != nil {
			t.Fatalf("%v\n%s", err, out.Stdout)
		}
	}
	do(l.CreatePVs(dev))
	do(l.CreateVG(vg, dev))
	t.Cleanup(func() { _, _ = r.Run(context.Background(), l.Deactivate(vg)) })
	for _, v := range []Volume{{Name: "home", Size: "120M"}, {Name: "swap", Size: "16M"}} {
		v.VG = vg
		c, err := l.CreateLV(v)
		if err != nil {
			t.Fatal(err)
		}
		do(c)
	}
	if err := os.WriteFile("/dev/"+vg+"/swap", []byte("what is in the tail"), 0); err != nil {
		t.Fatal(err)
	}
	var sizes []int64
	f := Fit{Device: dev, Size: 101 << 20, LV: "home", Content: func(n int64) error { sizes = append(sizes, n); return nil }}
	for range 2 {
		if err := l.Shrink(t.Context(), r, f); err != nil {
			t.Fatal(err)
		}
	}
	pv, _, err := l.FindPV(t.Context(), r, dev)
	if err != nil || pv.Start+pv.Size != 101<<20 || pv.Free != 0 {
		t.Errorf("%+v %v", pv, err)
	}
	b, err := os.ReadFile("/dev/" + vg + "/swap")
	if err != nil || !strings.HasPrefix(string(b), "what is in the tail") {
		t.Errorf("%q %v", b[:min(20, len(b))], err)
	}
	f.Size = 200 << 20
	for range 2 {
		if err := l.Grow(t.Context(), r, f); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{84 << 20, 180 << 20, 180 << 20}; !slices.Equal(sizes, want) {
		t.Errorf("the content became %d, want %d", sizes, want)
	}
	do(l.Deactivate(vg))
}
