package storage

import (
	"os"
	"strings"
	"testing"
)

// With one disk pulled, arrays are assembled of the members that are left.
func TestAbsentDisk(t *testing.T) {
	text, err := os.ReadFile(examples + "/mdadm-raid1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := mustParse(t, string(text))
	disks := blank(l)
	delete(disks, "two")
	p, err := New(Config{Layout: l, Disks: disks, Absent: []string{"two"}, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	arrays := 0
	for _, s := range p.Mount {
		if a, ok := s.Action.(AssembleArray); ok {
			arrays++
			if len(a.Members) != 1 || a.Members[0].Disk != "one" {
				t.Errorf("%s of %v", s.Name, a.Members)
			}
		}
	}
	if arrays != 2 || len(p.Create) > 0 || len(p.Filesystems) != 2 || len(p.Disks) != 1 {
		t.Errorf("%d arrays, %d steps, %d file systems, %d disks", arrays, len(p.Create), len(p.Filesystems), len(p.Disks))
	}
}

// A disk whose content nothing stands in for has to be there.
func TestAbsentDiskIsNeeded(t *testing.T) {
	for example, want := range map[string]string{
		"whole-disk": "disk.data: it is not there, and filesystem on it is needed: only members of arrays can be missing",
		"lvm-raid":   "disk.two: it is not there, and lvm_pv on it is needed",
		"luks-mdadm": "",
	} {
		text, err := os.ReadFile(examples + "/" + example + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		l := mustParse(t, string(text))
		disks := blank(l)
		name := map[bool]string{true: "data", false: "two"}[example == "whole-disk"]
		delete(disks, name)
		_, err = New(Config{Layout: l, Disks: disks, Absent: []string{name}, Seed: seed})
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", example, err, want)
		}
	}
}
