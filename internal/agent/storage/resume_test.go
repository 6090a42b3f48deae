package storage_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// nested has one of every kind of content that is made, some in others.
const nested = `
disk:
  one:
    type: disk
    content:
      type: gpt
      partitions:
        ESP: {size: 100M, type: EF00, content: {type: filesystem, format: vfat, mountpoint: /boot}}
        crypt:
          size: 2G
          content: {type: luks, name: crypt, content: {type: lvm_pv, vg: vg0}}
        md: {size: 1G, content: {type: mdraid, name: data}}
        bios: {size: 1M, type: EF02}
  two:
    type: disk
    content:
      type: gpt
      partitions:
        md: {size: 1G, content: {type: mdraid, name: data}}
  three:
    type: disk
    content: {type: filesystem, format: xfs, mountpoint: /srv}
mdadm:
  data:
    type: mdadm
    level: 1
    content:
      type: btrfs
      subvolumes:
        home: {mountpoint: /home}
        log: {mountpoint: /var/log}
lvm_vg:
  vg0:
    type: lvm_vg
    lvs:
      root: {size: 1G, content: {type: filesystem, format: ext4, mountpoint: /}}
      swap: {size: 100M, content: {type: swap}}
`

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func identity(name string) plan.Disk {
	return plan.Disk{Device: "/dev/" + name, Serial: "serial-" + name, Size: 8 << 30, SectorSize: 512}
}

func three() map[string]plan.Disk {
	return map[string]plan.Disk{"one": identity("one"), "two": identity("two"), "three": identity("three")}
}

// used are three disks that had other uses.
func used() *fake {
	f := newFake(identity("one"), identity("two"), identity("three"))
	f.tables["/dev/one"] = &probe.Table{Table: layout.Table{Kind: layout.KindGPT, GUID: uuid.MustParse("0b0b0b0b-0000-4000-8000-000000000000"), SectorSize: 512, Size: 8 << 30, Entries: []layout.Entry{
		{Number: 1, Label: "old", Type: layout.TypeLinux, GUID: uuid.MustParse("0b0b0b0b-0000-4000-8000-000000000001"), FirstLBA: 2048, LastLBA: 1 << 20},
	}}}
	f.content["/dev/one-1"] = storage.Content{Type: "ext4", UUID: "old"}
	f.content["/dev/three"] = storage.Content{Type: "ntfs"}
	return f
}

// state is what a scan of the machine would find.
func (f *fake) state(names map[string]plan.Disk) map[string]plan.State {
	all := map[string]plan.State{}
	for name, d := range names {
		s := plan.State{Disk: d}
		if t := f.tables[d.Device]; t != nil {
			s.Table = &t.Table
			for _, e := range t.Entries {
				if c, ok := f.content[f.Partition(d.Device, e.Number)]; ok {
					s.Found = append(s.Found, plan.Found{Partition: e.Number, Type: c.Type, UUID: c.UUID})
				}
			}
		}
		if c, ok := f.content[d.Device]; ok {
			s.Found = append(s.Found, plan.Found{Type: c.Type, UUID: c.UUID})
		}
		all[name] = s
	}
	return all
}

var seed = uuid.MustParse("2f8a0d0e-6d5c-4c8e-9d39-0a4a3f7f1f11")

func planFor(t *testing.T, f *fake, text string, names map[string]plan.Disk, anew bool) plan.Plan {
	t.Helper()
	l, err := layout.Parse("layout.yaml", []byte(text))
	must(t, err)
	p, err := plan.New(plan.Config{Layout: l, Disks: f.state(names), Seed: seed, Anew: anew})
	must(t, err)
	return p
}

// recorder keeps what a run told.
type recorder []event.Event

func (r *recorder) Emit(e event.Event) { *r = append(*r, e) }

func config(f *fake, p plan.Plan, names map[string]plan.Disk) storage.Config {
	return storage.Config{
		Steps: p.Create, Disks: names, Root: "/mnt", Machine: f, Tools: none{},
		Secrets: secret.NewSet(map[string]string{"luks-crypt": "secret\n"}),
	}
}

// none runs nothing: the fake does not need it.
type none struct{}

func (none) Run(_ context.Context, c tool.Cmd) (tool.Output, error) {
	return tool.Output{}, &tool.Error{Cmd: c, Exit: -1, Err: tool.ErrNotFound}
}

// outcome is what has to be the same however often a run was interrupted.
type outcome struct {
	Tables  map[string]layout.Table
	Content map[string]storage.Content
	Vols    map[string][]string
	Subvols map[string][]string
	Partial map[string]bool
}

func (f *fake) outcome(t *testing.T) outcome {
	t.Helper()
	o := outcome{map[string]layout.Table{}, f.content, f.vols, f.subvols, f.partial}
	for d, table := range f.tables {
		if table.Damage != nil {
			t.Errorf("the table of %s is damaged: %q", d, table.Damage)
		}
		o.Tables[d] = table.Table
	}
	return o
}

func unfinished(o outcome) bool {
	for _, table := range o.Tables {
		if slices.ContainsFunc(table.Entries, func(e layout.Entry) bool { return e.Type == plan.TypeUnfinished }) {
			return true
		}
	}
	return len(o.Partial) > 0
}

// undisturbed is what comes out of a run that nothing interrupts.
func undisturbed(t *testing.T) (outcome, int) {
	t.Helper()
	f := used()
	must(t, storage.Run(t.Context(), config(f, planFor(t, f, nested, three(), true), three())))
	o := f.outcome(t)
	if unfinished(o) || len(o.Tables) != 2 || len(o.Content) != 9 {
		t.Fatalf("undisturbed run: %+v", o)
	}
	return o, f.count
}

func TestInterruptedAnywhere(t *testing.T) {
	want, effects := undisturbed(t)
	for _, journal := range []bool{true, false} {
		for _, how := range []string{"before", "inside", "after"} {
			for at := 1; at <= effects; at++ {
				if testing.Short() && at%4 != 0 {
					continue
				}
				for _, reboot := range []bool{false, true} {
					f := used()
					f.at, f.how = at, how
					name := fmt.Sprintf("journal %t, died %s effect %d, reboot %t", journal, how, at, reboot)
					interrupt(t, name, f, want, journal, reboot)
				}
			}
		}
	}
}

// interrupt runs until the machine dies, and then again to the end.
func interrupt(t *testing.T, name string, f *fake, want outcome, journal, reboot bool) {
	t.Helper()
	p := planFor(t, f, nested, three(), true)
	c := config(f, p, three())
	path := filepath.Join(storage.MemDir(t), "journal")
	hash, err := storage.Hash(c.Disks, c.Steps)
	must(t, err)
	open := func() {
		if journal {
			c.Journal, err = storage.OpenJournal(path, hash)
			must(t, err)
		}
	}
	open()
	err = storage.Run(t.Context(), c)
	must(t, c.Journal.Close())
	what := f.log[len(f.log)-1]
	if !errors.Is(err, errDied) {
		t.Fatalf("%s: %v", name, err)
	}
	if !journal { // as with the system, the plan is lost: it is made again from what is there
		c.Steps = planFor(t, f, nested, three(), true).Create
	}
	if reboot {
		f.reboot()
	}
	open()
	var told recorder
	c.Sink = &told
	if err := storage.Run(t.Context(), c); err != nil {
		t.Fatalf("%s (%s), run again: %v\n%s", name, what, err, strings.Join(f.log, "\n"))
	}
	must(t, c.Journal.Close())
	if got := f.outcome(t); !reflect.DeepEqual(got, want) {
		t.Errorf("%s (%s):\n got %+v\nwant %+v\n%s", name, what, got, want, strings.Join(f.log, "\n"))
	}
}
