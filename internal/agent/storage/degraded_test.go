package storage_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

const mirror = `
disk:
  one: {type: disk, content: {type: gpt, partitions: {md: {size: 1G, content: {type: mdraid, name: md}}}}}
  two: {type: disk, content: {type: gpt, partitions: {md: {size: 1G, content: {type: mdraid, name: md}}}}}
mdadm: {md: {type: mdadm, level: 1, content: {type: filesystem, format: ext4, mountpoint: /}}}
`

// mountPlan is the plan for disks some of which are not there.
func mountPlan(t *testing.T, text string, states map[string]plan.State, absent ...string) plan.Plan {
	t.Helper()
	l, err := layout.Parse("layout.yaml", []byte(text))
	must(t, err)
	for _, name := range absent {
		delete(states, name)
	}
	p, err := plan.New(plan.Config{Layout: l, Disks: states, Absent: absent, Seed: uuid.NewSHA1(seed, []byte(t.Name()))})
	must(t, err)
	return p
}

// warned says whether a run told of something.
func warned(told recorder, text string) bool {
	return slices.ContainsFunc(told, func(e event.Event) bool { return e.State == event.Done && e.Message == text })
}

// An array that lacks a member is assembled of the rest, and that is told:
// a disk that was pulled, and one that was put in its place.
func TestArrayLacksMember(t *testing.T) {
	names := map[string]plan.Disk{"one": identity("one"), "two": identity("two")}
	made := func(t *testing.T) *fake {
		f := newFake(identity("one"), identity("two"))
		must(t, storage.Run(t.Context(), config(f, planFor(t, f, mirror, names, true), names)))
		f.reboot()
		return f
	}
	for name, tt := range map[string]struct {
		lose   func(*fake)
		absent []string
	}{
		"whole":  {func(*fake) {}, nil},
		"pulled": {func(f *fake) { f.disks = f.disks[:1]; delete(f.tables, "/dev/two") }, []string{"two"}},
		"new":    {func(f *fake) { delete(f.content, "/dev/two-1") }, nil},
		"other":  {func(f *fake) { f.content["/dev/two-1"] = storage.Content{Type: "linux_raid_member", UUID: "other"} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := made(t)
			tt.lose(f)
			p := mountPlan(t, mirror, f.state(names), tt.absent...)
			here := map[string]plan.Disk{}
			for _, d := range p.Disks {
				here[d.Name] = d.Disk
			}
			var told recorder
			c := config(f, p, here)
			c.Root, c.Steps, c.Sink = t.TempDir(), p.Mount, &told
			must(t, storage.Run(t.Context(), c))
			want := "/dev/one-1"
			if name == "whole" {
				want += " /dev/two-1"
			}
			if f.active["/dev/md/md"] != want || len(f.mounts) != 1 || warned(told, "warning: array md runs without 1 of its devices") == (name == "whole") {
				t.Errorf("%v %v %+v", f.active, f.mounts, told)
			}
		})
	}
	f := made(t)
	p := mountPlan(t, mirror, f.state(names))
	delete(f.content, "/dev/two-1")
	f.content["/dev/one-1"] = storage.Content{Type: "ext4"}
	c := config(f, p, names)
	c.Steps = p.Mount
	if err := storage.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "none of /dev/one-1, /dev/two-1 is a member of the array") {
		t.Errorf("no member at all: %v", err)
	}
}

// The same with a real array.
func TestDegraded(t *testing.T) {
	needKernel(t)
	m, names := pair(t)
	p := planPair(t, m, names, true)
	down := pairConfig(t, m, names, p.Unmount)
	t.Cleanup(func() { must(t, storage.Run(context.Background(), down)) })
	up := down
	up.Steps = p.Create
	must(t, storage.Run(t.Context(), up))
	up.Steps = p.Mount
	must(t, storage.Run(t.Context(), up))
	must(t, os.WriteFile(up.Root+"/home/file", []byte("data"), 0o600))
	must(t, storage.Run(t.Context(), down))
	states := func() map[string]plan.State {
		all := map[string]plan.State{}
		for name, d := range names {
			one := m
			one.disks = []plan.Disk{d}
			all[name] = scan(t, one)
		}
		return all
	}
	mount := func(what string, absent ...string) {
		t.Helper()
		var told recorder
		up.Sink, up.Steps = &told, mountPlan(t, stacked, states(), absent...).Mount
		must(t, storage.Run(t.Context(), up))
		if b, err := os.ReadFile(up.Root + "/home/file"); err != nil || string(b) != "data" {
			t.Errorf("%s: %q %v", what, b, err)
		}
		if !warned(told, "warning: array vic-test runs without 1 of its devices") {
			t.Errorf("%s: nobody was warned: %+v", what, told)
		}
		must(t, storage.Run(t.Context(), down))
	}
	mount("a disk is not there", "two")
	sh(t, "mdadm", "--zero-superblock", m.Partition(names["two"].Device, 1))
	mount("a member is new")
}
