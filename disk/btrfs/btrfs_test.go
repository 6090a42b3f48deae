package btrfs

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestCommands(t *testing.T) {
	tests := []struct {
		got  tool.Cmd
		want string
	}{
		{SubvolumeCommand("/mnt/home", []string{"-c", "1"}), "btrfs subvolume create -c 1 /mnt/home"},
		{SwapFileCommand("/mnt/swap", 1<<20), "btrfs filesystem mkswapfile --size 1048576 /mnt/swap"},
		{ListCommand("/mnt"), "btrfs subvolume list /mnt"},
		{ScanCommand(), "btrfs device scan"},
	}
	for _, tt := range tests {
		if tt.got.String() != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

func TestParseList(t *testing.T) {
	got := ParseList([]byte("ID 256 gen 7 top level 5 path home\nID 257 gen 7 top level 256 path home/a path b\n"))
	if diff := cmp.Diff([]string{"home", "home/a path b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMake(t *testing.T) {
	r := tooltest.Need(t, "mkfs.btrfs", "btrfs", "losetup")
	dev := tooltest.Loop(t, 200<<20)
	f := disk.Filesystem{Format: "btrfs", UUID: uuid.NewString()}
	if err := disk.Mkfs(t.Context(), r, f, dev, time.Time{}); err != nil {
		t.Fatal(err)
	}
	subvolumes := []Subvolume{{Path: "root"}, {Path: "/home"}, {Path: "home/me"}, {Path: "deep/er/one"}, {Path: "swap"}}
	swaps := []SwapFile{{Path: "swap/file", Size: 16<<20 + 5}}
	for range 2 { // the second time there is nothing to do
		if err := Make(t.Context(), r, dev, subvolumes, swaps); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Subvolumes(t.Context(), r, dev)
	if diff := cmp.Diff([]string{"root", "home", "home/me", "deep/er/one", "swap"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	// A swap file that was not finished is made anew.
	err = WithTop(t.Context(), r, dev, nil, func(dir string) error { return os.Truncate(dir+"/swap/file", 8<<20) })
	if err != nil {
		t.Fatal(err)
	}
	if err := Make(t.Context(), r, dev, nil, swaps); err != nil {
		t.Error(err)
	}
	err = WithTop(t.Context(), r, dev, nil, func(dir string) error {
		if out, err := r.Run(t.Context(), tool.Cmd{Name: "blkid", Args: []string{"-p", dir + "/swap/file"}}); err != nil || !strings.Contains(string(out.Stdout), `TYPE="swap"`) {
			t.Errorf("%s %v", out.Stdout, err)
		}
		return os.WriteFile(dir+"/file", nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"file", "/", "a/../.."} {
		if err := Make(t.Context(), r, dev, []Subvolume{{Path: bad}}, nil); err == nil {
			t.Errorf("a subvolume was made at %q", bad)
		}
	}
}
