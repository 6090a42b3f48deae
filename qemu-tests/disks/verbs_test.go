package disks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
)

const verbsLayout = `
disk:
  main:
    type: disk
    content:
      type: gpt
      partitions:
        swap: {size: 64M, content: {type: swap}}
        root: {size: 128M, content: {type: filesystem, format: ext4, mountpoint: /}}
        home: {size: 100%, content: {type: filesystem, format: ext4, mountpoint: /home, mountOptions: [noatime]}}
`

// The verbs of vic disk, one after the other, on a disk of this machine.
func TestVerbs(t *testing.T) {
	lab.Need(t)
	tooltest.Need(t, "mkfs.ext4", "mkswap", "wipefs", "blkid", "findmnt")
	dev := tooltest.Loop(t, 512<<20)
	dir := t.TempDir()
	layout, root := filepath.Join(dir, "layout.yaml"), filepath.Join(dir, "root")
	if err := os.WriteFile(layout, []byte(verbsLayout), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(exit int, args ...string) lab.Run {
		t.Helper()
		r := lab.VicWith(t.Context(), t, nil, append([]string{"disk"}, args...)...)
		if r.Exit != exit {
			t.Fatalf("vic disk %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.Exit, exit, r.Stdout, r.Stderr)
		}
		return r
	}

	if out := run(0, "plan", layout, "--disk", dev).Stdout; !strings.Contains(out, "mkfs.ext4 main:home") {
		t.Errorf("the plan is\n%s", out)
	}
	run(3, "verify", layout, "--disk", dev)
	run(0, "format", layout, "--disk", dev) // nothing is lost: nobody is asked
	run(0, "verify", layout, "--disk", dev)

	before := lab.Say(t, "sha256sum", dev)
	if out := run(0, "format", layout, "--disk", dev).Stderr; !strings.Contains(out, "found done") {
		t.Errorf("the second format says\n%s", out)
	}
	if lab.Say(t, "sha256sum", dev) != before {
		t.Error("the second format changed the disk")
	}

	for range 2 { // the second time over the first
		run(0, "mount", layout, "--disk", dev, "--root", root)
	}
	if got := lab.Say(t, "findmnt", "-no", "OPTIONS", filepath.Join(root, "home")); !strings.Contains(got, "noatime") {
		t.Errorf("/home is mounted with %s", got)
	}
	run(3, "destroy", layout, "--disk", dev, "--yes", "--root", filepath.Join(dir, "elsewhere")) // it is in use
	for range 2 {
		run(0, "umount", layout, "--disk", dev, "--root", root)
	}

	lab.Say(t, "wipefs", "-aqf", disk.PartitionPath(dev, 3))
	if out := run(3, "verify", layout, "--disk", dev).Stdout; !strings.Contains(out, "mkfs.ext4 main:") {
		t.Errorf("verify says\n%s", out)
	}
	run(3, "format", layout, "--disk", dev) // what was finished is never made again by itself
	run(0, "format", layout, "--disk", dev, "--anew", "--yes")
	run(0, "verify", layout, "--disk", dev)

	if r := run(3, "destroy", layout, "--disk", dev); !strings.Contains(r.Stderr, "Everything on "+dev) {
		t.Errorf("destroy does not ask: %s", r.Stderr)
	}
	run(0, "destroy", layout, "--disk", dev, "--yes", "--root", root)
	if out := run(0, "show", dev).Stdout; strings.Contains(out, "GPT") {
		t.Errorf("after destroy there is\n%s", out)
	}
}
