package disks

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/logwrites"
)

// The power is cut while vic disk format writes: at every kind of place, with any
// part of what was not flushed lost or torn. Whatever is on the disk then, the
// same command finishes the job, and the disk is as after an undisturbed run.
//
// It runs on this machine: the disk is a loop device whose writes and flushes are
// recorded.
func TestPowerCut(t *testing.T) {
	lab.Need(t)
	tooltest.Root(t)
	tooltest.Need(t, "mkfs.btrfs", "mkswap", "sfdisk", "blkid", "e2fsck", "resize2fs", "btrfs")
	for _, tt := range []struct {
		name, layout string
		used         bool
		cuts         int
	}{
		{"blank disk", blankLayout, false, 40},
		{"kept and shrunk", keepLayout, true, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "layout.yaml")
			if err := os.WriteFile(file, []byte(tt.layout), 0o644); err != nil {
				t.Fatal(err)
			}
			base := base(t, tt.used)
			path, rec := logwrites.Record(t, logwrites.NewOverlay(base, cutSize, 512), logwrites.Faults{})
			format(t, file, path)
			want := state(t, path)
			log := rec.Log()
			cuts := log.Cuts(logwrites.Sample{Others: 20, Max: tt.cuts, Seed: 7})
			if len(cuts) < tt.cuts/2 {
				t.Fatalf("%d cuts of %d writes", len(cuts), log.Writes())
			}
			err := log.Replay(base, cutSize, cuts, func(c logwrites.Cut, o *logwrites.Overlay) error {
				logwrites.With(t, o, func(path string) {
					format(t, file, path)
					if got := state(t, path); got != want {
						t.Errorf("after a cut at %v: the disk is\n%s\nundisturbed it is\n%s", c, got, want)
					}
				})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

const cutSize = 1 << 30

const blankLayout = `
disk:
  main:
    type: disk
    content:
      type: gpt
      partitions:
        ESP: {size: 64M, type: EF00, content: {type: filesystem, format: vfat}}
        swap: {size: 64M, content: {type: swap}}
        data: {size: 300M, content: {type: btrfs, subvolumes: {"@": {}, "@home": {}}}}
        root: {size: 100%, content: {type: filesystem, format: ext4}}
`

const keepLayout = `
disk:
  main:
    type: disk
    content:
      type: gpt
      partitions:
        home: {keep: true, label: home, content: {type: filesystem, format: ext4}}
        data: {keep: true, label: data, resize: 160M, content: {type: filesystem, format: ext4}}
        root: {size: 100%, content: {type: filesystem, format: ext4}}
`

// base is what was on the disk before: nothing, or files to keep in one file
// system, and in another that is to be shrunk.
func base(t *testing.T, used bool) *bytes.Reader {
	t.Helper()
	if !used {
		return bytes.NewReader(nil)
	}
	image := filepath.Join(t.TempDir(), "used.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, cutSize); err != nil {
		t.Fatal(err)
	}
	lab.Say(t, "sgdisk", "-n", "1:0:+128M", "-c", "1:home", "-n", "2:0:+512M", "-c", "2:data", "-n", "3:0:0", "-c", "3:old", image)
	for offset, size := range map[int64]string{1 << 20: "128M", 129 << 20: "512M"} {
		tree := t.TempDir()
		fill(t, tree)
		lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-d", tree, "-E", "offset="+itoa(offset), image, size)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

// format runs vic disk format, which has to succeed.
func format(t *testing.T, layout, path string) {
	t.Helper()
	// As a kernel with parsers of partition tables does when a disk appears.
	if out, err := exec.Command("partx", "--update", path).CombinedOutput(); err != nil {
		t.Logf("partx: %v: %s", err, out) // it has no table
	}
	if r := lab.VicWith(t.Context(), t, nil, "disk", "format", layout, "--disk", path, "--yes"); r.Exit != 0 {
		t.Fatalf("vic disk format: exit code %d\n%s", r.Exit, r.Stderr)
	}
}

// Identifiers derive from the disk, and that is a loop device of another number
// each time.
var identifiers = regexp.MustCompile(`(?i)(, uuid=|label-id: )[0-9a-f-]+|/dev/loop\d+p?`)

// state is what has to be the same after every run: the table, what is in the
// partitions, and the files in them. All of it has to be sound.
func state(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(identifiers.ReplaceAllString(lab.Say(t, "sfdisk", "--dump", path), "$1"))
	lab.CheckTable(t, path, 512)
	for n := 1; ; n++ {
		part := disk.PartitionPath(path, n)
		if _, err := os.Stat(part); err != nil {
			return b.String()
		}
		kind := strings.TrimSpace(lab.Say(t, "blkid", "-p", "-s", "TYPE", "-o", "value", part))
		fmt.Fprintf(&b, "%d: %s\n", n, kind)
		switch kind {
		case "ext4":
			lab.Say(t, "e2fsck", "-fn", part)
			b.WriteString(listed(t, part))
		case "btrfs":
			lab.Say(t, "btrfs", "check", "--readonly", part)
		case "vfat":
			lab.Say(t, "fsck.vfat", "-n", part)
		}
	}
}

// listed are the files of an ext4, which may have none.
func listed(t *testing.T, part string) string {
	t.Helper()
	if !strings.Contains(lab.Say(t, "debugfs", "-R", "ls /", part), "letter") {
		return ""
	}
	return files(t, part)
}
