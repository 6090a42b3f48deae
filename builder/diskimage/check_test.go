package diskimage

import (
	"errors"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
)

func parsed(t *testing.T, doc string) layout.Layout {
	t.Helper()
	l, err := layout.Parse("test.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func onDisk(partitions string) string {
	return "devices: {disk: {main: {type: disk, content: {type: gpt, partitions: {" + partitions + "}}}}}"
}

func TestCheckNamesWhatCannotBe(t *testing.T) {
	for want, doc := range map[string]string{
		"disk.main.content.partitions.root.content: content of type luks":  onDisk(`root: {size: 100%, content: {type: luks, name: crypt, passwordFile: /k, content: {type: filesystem, format: ext4, mountpoint: /}}}`),
		"disk.main.content.partitions.root.content: format xfs":            onDisk(`root: {size: 100%, content: {type: filesystem, format: xfs, mountpoint: /}}`),
		"disk.main.content.partitions.root.content: content of type btrfs": onDisk(`root: {size: 100%, content: {type: btrfs, mountpoint: /}}`),
		"disk.main.content.partitions.root: a partition that is kept":      onDisk(`root: {keep: true, content: {type: filesystem, format: ext4, mountpoint: /}}`),
		"disk.main.content.partitions.root.content: hooks":                 onDisk(`root: {size: 100%, content: {type: filesystem, format: ext4, mountpoint: /, postMountHook: "true"}}`),
		"disk.main: content of type filesystem":                            `devices: {disk: {main: {type: disk, content: {type: filesystem, format: ext4, mountpoint: /}}}}`,
		"disk.main.content.partitions.1.content: format xfs": `devices: {disk: {main: {type: disk, content: {type: table, format: msdos, partitions: [
			{start: 1MiB, end: 100MiB, content: {type: filesystem, format: vfat, mountpoint: /boot/firmware}}, {start: 100MiB, content: {type: filesystem, format: xfs, mountpoint: /}}]}}}}`,
		"lvm_vg: lvm_vg": `devices: {disk: {main: {type: disk, content: {type: gpt, partitions: {pv: {size: 100%, content: {type: lvm_pv, vg: vg0}}}}}}, lvm_vg: {vg0: {type: lvm_vg, lvs: {root: {size: 100%FREE, content: {type: filesystem, format: ext4, mountpoint: /}}}}}}`,
	} {
		err := Check(parsed(t, doc))
		if !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "vic install --vm") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// An MBR is for boards, and needs a program to grow.
func TestCheckAcceptsCards(t *testing.T) {
	doc, err := images.Layout(images.RaspberryPiLayout, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	l := parsed(t, string(doc))
	if err := Check(l); err != nil {
		t.Error(err)
	}
	if got := RootFS(l); got != "ext4" {
		t.Errorf("the root is %s", got)
	}
	if got := Packages(l); len(got) != 1 || got[0] != "fdisk" {
		t.Errorf("packages %q", got)
	}
}

func TestCheckAccepts(t *testing.T) {
	doc, err := images.Layout(images.DefaultLayout, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{string(doc), onDisk(`swap: {size: 1G, content: {type: swap}}, boot: {size: 1G, content: {type: filesystem, format: ext2, mountpoint: /boot}}, root: {size: 100%, content: {type: filesystem, format: ext3, mountpoint: /}}`)} {
		if err := Check(parsed(t, doc)); err != nil {
			t.Error(err)
		}
	}
}

func TestRootFS(t *testing.T) {
	for want, doc := range map[string]string{
		"ext3": onDisk(`root: {size: 100%, content: {type: filesystem, format: ext3, mountpoint: /}}`),
		"ext4": onDisk(`data: {size: 100%, content: {type: filesystem, format: vfat, mountpoint: /data}}`),
	} {
		if got := RootFS(parsed(t, doc)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
