package md

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestCommands(t *testing.T) {
	id := FormatUUID(uuid.MustParse("5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10"))
	if id != "5d0f3c6e:6c0b4c65:9d316b3f:1c2a7e10" {
		t.Errorf("UUID %s", id)
	}
	a := Array{Name: "boot", Level: "1", Metadata: "1.0", UUID: id, Members: []string{"/dev/sda1", "/dev/sdb1"}, Args: []string{"--bitmap=internal"}}
	plain := Array{Name: "data", Level: "5", Metadata: "default", Members: []string{"/dev/sda1"}}
	tests := []struct {
		got  tool.Cmd
		want string
	}{
		{CreateCommand(a), "mdadm --create /dev/md/boot --run --force --homehost=any --name=boot --level=1 --raid-devices=2 --metadata=1.0 --uuid=" + id + " --bitmap=internal /dev/sda1 /dev/sdb1"},
		{CreateCommand(plain), "mdadm --create /dev/md/data --run --force --homehost=any --name=data --level=5 --raid-devices=1 /dev/sda1"},
		{AssembleCommand("boot", id, a.Members), "mdadm --assemble /dev/md/boot --run --homehost=any --uuid=" + id + " /dev/sda1 /dev/sdb1"},
		{StopCommand("/dev/md127"), "mdadm --stop /dev/md127"},
		{ZeroCommand("/dev/sda1"), "mdadm --zero-superblock /dev/sda1"},
		{DetailCommand("/dev/md127"), "mdadm --detail --export /dev/md127"},
		{ExamineCommand("/dev/sda1"), "mdadm --examine --export /dev/sda1"},
	}
	for _, tt := range tests {
		if tt.got.String() != tt.want {
			t.Errorf("got  %s\nwant %s", tt.got, tt.want)
		}
	}
}

func TestParseExport(t *testing.T) {
	got := ParseExport([]byte("MD_LEVEL=raid1\nMD_DEVICES=2\nMD_METADATA=1.2\nMD_UUID=a:b:c:d\nMD_NAME=any:boot\nMD_DEVICE_ev_sda=x\n\n"))
	if want := (Info{Name: "boot", Level: "raid1", Metadata: "1.2", UUID: "a:b:c:d", Devices: "2"}); got != want {
		t.Errorf("%+v", got)
	}
	if got := ParseExport([]byte("MD_DEVNAME=x\nrubbish")); got.Name != "x" {
		t.Errorf("%+v", got)
	}
}

func TestSameUUID(t *testing.T) {
	if !sameUUID("5d0f3c6e:6c0b4c65:9d316b3f:1c2a7e10", "5D0F3C6E-6c0b-4c65-9d31-6b3f1c2a7e10") || sameUUID("", "") {
		t.Error("wrong")
	}
	if got := swapped("01020304-0506-0708-090a-0b0c0d0e0f10"); got != "0403020108070605"+"0c0b0a09100f0e0d" {
		t.Errorf("swapped: %s", got)
	}
}

// TestArray makes arrays of each superblock, stops, assembles and clears them,
// which needs a kernel with md.
func TestArray(t *testing.T) {
	tooltest.Root(t)
	r := tooltest.Need(t, "mdadm", "losetup")
	if _, err := os.Stat("/proc/mdstat"); err != nil {
		t.Skip("this kernel has no md")
	}
	for _, metadata := range []string{"1.2", "1.0", "0.90"} {
		members := []string{tooltest.Loop(t, 32<<20), tooltest.Loop(t, 32<<20)}
		id := FormatUUID(uuid.New())
		a := Array{Name: "vic" + id[:8], Level: "1", Metadata: metadata, UUID: id, Members: members}
		node, err := Create(t.Context(), r, a)
		if err != nil {
			t.Fatalf("%s: %v", metadata, err)
		}
		t.Cleanup(func() { _, _ = r.Run(t.Context(), StopCommand(node)) })
		if info, err := Detail(t.Context(), r, node); err != nil || info.Level != "raid1" || info.Metadata != metadata || !sameUUID(info.UUID, id) || metadata != "0.90" && info.Name != a.Name {
			t.Errorf("%s: %+v %v", metadata, info, err)
		}
		if node != "/dev/md/"+a.Name {
			t.Errorf("%s: its node is %s", metadata, node)
		}
		dev, err := filepath.EvalSymlinks(node)
		if err != nil {
			t.Fatal(err)
		}
		if found, ok, err := Find(t.Context(), r, id); err != nil || !ok || found != dev {
			t.Errorf("%s: found %s %v", metadata, found, err)
		}
		stopAndStart(t, r, a, dev)
	}
}

func stopAndStart(t *testing.T, r tool.Runner, a Array, dev string) {
	t.Helper()
	if err := Stop(t.Context(), r, dev); err != nil {
		t.Fatal(err)
	}
	if _, err := Node(t.Context(), r, a.Name, a.UUID); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%s: stopped: %v", a.Metadata, err)
	}
	for range 2 {
		if node, err := Assemble(t.Context(), r, a.Name, a.UUID, a.Members); err != nil || !strings.HasPrefix(node, "/dev/md") {
			t.Fatalf("%s: %s %v", a.Metadata, node, err)
		}
	}
	dev, err := Node(t.Context(), r, a.Name, a.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if err := Stop(t.Context(), r, dev); err != nil {
		t.Fatal(err)
	}
	for _, m := range a.Members {
		if info, err := Examine(t.Context(), r, m); err != nil || !sameUUID(info.UUID, a.UUID) {
			t.Errorf("%s: %+v %v", a.Metadata, info, err)
		}
		if err := Zero(t.Context(), r, m); err != nil {
			t.Error(err)
		}
		if info, err := Examine(t.Context(), r, m); err == nil && info.UUID != "" {
			t.Errorf("%s: cleared: %+v", a.Metadata, info)
		}
	}
}
