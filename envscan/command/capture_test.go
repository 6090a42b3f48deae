package command

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/envscan"
)

// TestMain: the test is what capture watches.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "dump" {
		os.Exit(Main(context.Background(), os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// box is a machine with a disk, a network card, and links between them.
func box(t *testing.T) string {
	root := machine(t)
	write := func(path, content string) {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const disk, nic = "sys/devices/pci0000:00/0000:00:05.0/virtio3/block/vda", "sys/devices/pci0000:00/0000:00:03.0/virtio1/net/enx525400ca7a12"
	for path, content := range map[string]string{
		"sys/block/vda": "-> ../../" + disk, disk + "/dev": "254:0\n", disk + "/size": "204800\n", disk + "/serial": "CANARY77",
		disk + "/device": "-> ../..", disk + "/unread": "nobody asks for this",
		"sys/class/net/enx525400ca7a12": "-> ../../" + strings.TrimPrefix(nic, "sys/"), nic + "/type": "1\n", nic + "/address": "52:54:00:ca:7a:12\n", nic + "/addr_assign_type": "0\n",
		nic + "/device": "-> ../../../virtio1", nic + "/flags": "0x1003\n",
		"dev/disk/by-id/virtio-CANARY77":  "-> ../../vda",
		"sys/class/dmi/id/product_uuid":   "ca7a1200-0000-4000-8000-0000ca7a1200\n",
		"sys/class/dmi/id/product_serial": "CANARY78\n",
		"proc/cmdline":                    "root=/dev/disk/by-id/virtio-CANARY77 quiet\n",
		"proc/1/environ":                  "container=lxc\x00PASSWORD=CANARY79\x00",
		"etc/hostname":                    "box\n",
	} {
		write(path, content)
	}
	return root
}

// facts are those of a tree, without what depends on when and as whom.
func facts(t *testing.T, root string) envscan.Facts {
	t.Helper()
	f, err := envscan.Scan(t.Context(), envscan.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	f.State.Time = ""
	return f
}

// captureTo needs a system that lets its programs be traced.
func captureTo(t *testing.T, args ...string) {
	t.Helper()
	code, _, text := runs(t, "", append([]string{"capture"}, args...)...)
	if strings.Contains(text, unix.EPERM.Error()) && os.Getenv("CI") == "" {
		t.Skip("ptrace is not allowed here: ", text)
	}
	if code != 0 {
		t.Fatal(text)
	}
}

func TestCaptureOfATree(t *testing.T) {
	root, to := box(t), filepath.Join(t.TempDir(), "copy")
	captureTo(t, to, "--root", root)
	if diff := cmp.Diff(facts(t, root), facts(t, to)); diff != "" {
		t.Error(diff)
	}
	everything := grep(t, to)
	for text, want := range map[string]bool{"CANARY77": true, "nobody asks": false, "CANARY79": false, "container=lxc": true} {
		if strings.Contains(everything, text) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	if code, _, text := runs(t, "", "capture", to, "--root", root); code != 4 || !strings.Contains(text, "is not empty") {
		t.Error(code, text)
	}
	if code, _, text := runs(t, "", "capture", to+"2", "--redact", "drop"); code != 2 || !strings.Contains(text, "use --redact hash") {
		t.Error(code, text)
	}
	if code, _, text := runs(t, "", "capture", to+"2", "--root", t.TempDir()); code != 4 || !strings.Contains(text, "/sys is not there") {
		t.Error(code, text)
	}
}

// grep is every name, link and content below a folder.
func grep(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(strings.TrimPrefix(path, dir) + "\n")
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			b.WriteString(target + "\n")
			return err
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			b.Write(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCaptureRedacted(t *testing.T) {
	root, to := box(t), filepath.Join(t.TempDir(), "copy")
	captureTo(t, "--redact=hash", "--root", root, to)
	everything := strings.ToLower(grep(t, to))
	for _, canary := range []string{"canary", "52:54:00:ca:7a:12", "525400ca7a12", "ca7a1200", "box"} {
		if strings.Contains(everything, canary) {
			t.Errorf("%s is still there:\n%s", canary, everything)
		}
	}
	f := facts(t, to)
	if len(f.HW.Disk) != 1 || len(f.HW.Disk[0].Links) != 1 || f.HW.Disk[0].Size != 204800*512 || len(f.HW.NIC) != 1 || !strings.HasPrefix(f.HW.NIC[0].HWAddr, "02:") {
		t.Errorf("%+v", f.HW)
	}
}

func TestCaptureTar(t *testing.T) {
	root, file := box(t), filepath.Join(t.TempDir(), "box.tar")
	captureTo(t, file, "--root", root)
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(st, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	links := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		links[h.Name] = h.Linkname
	}
	if links["sys/block/vda"] != "../../sys/devices/pci0000:00/0000:00:05.0/virtio3/block/vda" {
		t.Errorf("%v", links)
	}
	if _, ok := links["sys/block/"]; !ok {
		t.Error("no folder")
	}
}

// TestCaptureOfThisMachine: what files tell of the running system is in its
// capture.
func TestCaptureOfThisMachine(t *testing.T) {
	to := filepath.Join(t.TempDir(), "copy")
	captureTo(t, to)
	live, copied := facts(t, "/."), facts(t, to)
	live.State, copied.State = envscan.State{}, envscan.State{}
	for _, f := range []*envscan.Facts{&live, &copied} {
		f.Scan.Gaps = nil // other reasons for the same
		for i := range f.HW.Disk {
			f.HW.Disk[i].Contents, f.HW.Disk[i].TableGUID = envscan.Contents{Use: f.HW.Disk[i].Use}, ""
		}
		for i := range f.HW.Volume {
			f.HW.Volume[i].Contents = envscan.Contents{Use: f.HW.Volume[i].Use}
		}
	}
	if diff := cmp.Diff(live, copied); diff != "" {
		t.Error(diff)
	}
	doc, err := json.Marshal(copied)
	if err != nil || len(doc) < 1000 {
		t.Error(string(doc), err)
	}
}
