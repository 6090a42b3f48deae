package kinds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/boot"
	"github.com/victorinix/vic/internal/registration/file"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/registration/storage"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// The process that is killed gets these.
const (
	envBase = "VIC_TEST_REGISTRATION_BASE"
	envKill = "VIC_TEST_REGISTRATION_KILL" // before which write
	envUndo = "VIC_TEST_REGISTRATION_UNDO"
	envDev  = "VIC_TEST_REGISTRATION_DEVICE"
)

func TestMain(m *testing.M) {
	if base := os.Getenv(envBase); base != "" {
		if err := victim(base, os.Getenv(envDev)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestKindsAreThoseOfTheirChanges(t *testing.T) {
	for name, k := range All() {
		if c := k.New(); c.Kind() != name || k.Version < 1 {
			t.Errorf("%s makes a %s, version %d", name, c.Kind(), k.Version)
		}
	}
}

func config(base string) registration.Config {
	return registration.Config{
		Dirs: []string{base + "/own", base + "/mirror"}, Lock: base + "/lock", Kinds: All(),
		Env:   registration.Env{Run: tool.Exec{}, Variables: efi.Efivarfs(base + "/efivars"), Root: base},
		Group: "killed", Command: "go test", Who: "root",
	}
}

// host is a machine: a disk with a mounted ext4, a swap area and free room, and
// firmware.
type host struct {
	t               *testing.T
	base, dev, root string
}

func newHost(t *testing.T) host {
	h := host{t: t, base: regtest.Dir(t), dev: tooltest.Loop(t, 96<<20)}
	script := "label: gpt\n" +
		"start=2048, size=61440, name=root\nstart=63488, size=40960, type=S, name=swap\n"
	_, err := tooltest.Need(t, "sfdisk").Run(t.Context(), tool.Cmd{
		Name: "sfdisk", Args: []string{"--quiet", "--no-reread", "--no-tell-kernel", h.dev}, Stdin: strings.NewReader(script),
	})
	if err != nil {
		t.Fatal(err)
	}
	table, err := locate.ReadTable(h.dev)
	if err == nil {
		err = disk.Reread(t.Context(), h.dev, table)
	}
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "mkfs.ext4", "-q", h.dev+"p1")
	tooltest.Run(t, "mkswap", "--quiet", h.dev+"p2")
	h.root = h.base + "/root"
	if err := disk.Mount(h.dev+"p1", h.root, "ext4", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Unmount(h.root); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(os.MkdirAll(h.root+"/grub", 0o755), os.Mkdir(h.base+"/efivars", 0o755), os.WriteFile(h.root+"/old", []byte("old"), 0o644)); err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "grub-editenv", h.root+"/grub/grubenv", "create")
	v := efi.Efivarfs(h.base + "/efivars")
	if _, err := efi.AddBootEntry(v, efi.Entry{Label: "debian", Path: `\EFI\debian\shimx64.efi`}, true); err != nil {
		t.Fatal(err)
	}
	return h
}

// changes are one of each kind, as a reinstall makes them.
func changes(dev string) []registration.Change {
	const root = "/root" // below base, where the host's files are
	e := layout.Entry{
		Type: uuid.MustParse("0fc63daf-8483-4772-8e79-3d69d8477de4"), GUID: uuid.MustParse("6c6f6f70-0000-4000-8000-000000000001"),
		Label: "vic-stage", FirstLBA: 63488, LastLBA: 104447,
	}
	return []registration.Change{
		storage.GiveUp(dev+"p2", ""),
		storage.Remove(dev, 2),
		storage.Add(dev, e, ""),
		file.New(root+"/old", 0o600, []byte("new")),
		file.New(root+"/EFI/vic/vic.efi", 0o600, bytes.Repeat([]byte("vic"), 1000)),
		&boot.Entry{Label: "vic", Path: `\EFI\vic\vic.efi`, Place: boot.None},
		boot.BootNext(1),
		boot.LoaderOneShot("vic.conf"),
		boot.NextEntry(root+"/grub/grubenv", "vic"),
	}
}

// snapshot is all that has to be as before.
func (h host) snapshot() string {
	h.t.Helper()
	var s strings.Builder
	s.WriteString(tooltest.Run(h.t, "sfdisk", "--dump", h.dev))
	f, err := os.Open(h.dev)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 96<<20 - 33*512} {
		b := make([]byte, 34*512)
		n, _ := f.ReadAt(b, at)
		fmt.Fprintf(&s, "%d: %x\n", at, sha256.Sum256(b[:n]))
	}
	s.WriteString(tooltest.Run(h.t, "blkid", "-p", h.dev+"p1", h.dev+"p2"))
	tree := regtest.Tree(h.t, h.root) + regtest.Tree(h.t, h.base+"/efivars")
	// GRUB's block is written in place.
	return s.String() + regexp.MustCompile(`(?m)^(/grub/grubenv \S+) .*UTC`).ReplaceAllString(tree, "$1")
}

// victim does what is to be done, and ends itself as the kernel would, before
// one of its writes.
func victim(base, dev string) error {
	at, err := strconv.Atoi(os.Getenv(envKill))
	if err != nil {
		return err
	}
	c, n := config(base), 0
	c.Env.Writing = func(string) {
		if n++; n == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it has come
		}
	}
	s, err := registration.Open(c)
	if err != nil {
		return err
	}
	defer s.Close()
	if os.Getenv(envUndo) != "" {
		_, err = s.Undo(context.Background(), registration.Selection{All: true})
		return err
	}
	for _, change := range changes(dev) {
		if _, err := s.Do(context.Background(), change); err != nil {
			return err
		}
	}
	return nil
}

// killed starts a victim, and says whether it came to its end before.
func (h host) killed(at int, undo string) bool {
	h.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envBase+"="+h.base, envDev+"="+h.dev, envKill+"="+strconv.Itoa(at), envUndo+"="+undo)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return false
	}
	if err != nil {
		h.t.Fatalf("killed before write %d: %v: %s", at, err, out)
	}
	return true
}

func (h host) undo(when, before string) {
	h.t.Helper()
	s, err := registration.Open(config(h.base))
	if err != nil {
		h.t.Fatal(err)
	}
	list, err := s.Undo(h.t.Context(), registration.Selection{All: true})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, o := range list {
		if !o.Undone() {
			h.t.Errorf("%s: %s %s: %s %s", when, o.ID, o.Title, o.Did, o.Reason)
		}
	}
	if err := errors.Join(s.Close(), os.RemoveAll(h.base+"/own"), os.RemoveAll(h.base+"/mirror")); err != nil {
		h.t.Fatal(err)
	}
	if now := h.snapshot(); now != before {
		h.t.Fatalf("%s: the host is not as before:\n%s", when, regtest.Diff(before, now))
	}
}

// Killed before any of its writes, making changes of all kinds or taking them
// back, in the middle of which one of the folders of records is lost: what is
// left is enough to have the host as it was.
func TestKilled(t *testing.T) {
	step := 31
	if os.Getenv("VIC_TEST_MATRIX") != "" {
		step = 1
	}
	h := newHost(t)
	before := h.snapshot()
	lose := []string{"own", "mirror", "none"}
	points := 0
	for at := 1; ; at += step {
		done := h.killed(at, "")
		if err := os.RemoveAll(filepath.Join(h.base, lose[points%3])); err != nil {
			t.Fatal(err)
		}
		h.undo(fmt.Sprintf("killed before write %d", at), before)
		if done {
			break
		}
		points++
	}
	for at := 1; ; at += step {
		if !h.killed(1<<30, "") {
			t.Fatal("killed")
		}
		done := h.killed(at, "yes")
		if err := os.RemoveAll(filepath.Join(h.base, lose[points%3])); err != nil {
			t.Fatal(err)
		}
		h.undo(fmt.Sprintf("killed before write %d of undoing", at), before)
		if done {
			break
		}
		points++
	}
	t.Logf("killed %d times, and as before each time", points)
}

// A record is read by whoever finds the folder, such as on another disk.
func FuzzRecord(f *testing.F) {
	head := `{"version":1,"id":"r1","revision":1,"group":"g","command":"c","who":"w","time":"2026-11-22T09:30:00Z","state":"applied","since":"2026-11-22T09:30:00Z","title":"t","kindVersion":1,`
	for kind, change := range map[string]string{
		file.Kind:              `{"place":{"host":"/x/y","volume":{"device":"","type":"","uuid":""}},"mode":384,"uid":0,"gid":0,"size":3,"sha256":"ab","made":["/x"]}`,
		boot.EntryKind:         `{"label":"vic","partition":{},"path":"\\\\x","place":"none","number":3,"option":"AQAAAA==","order":[1]}`,
		boot.VariableKind:      `{"name":"BootNext","vendor":"8be4df61-93ca-11d2-aa0d-00e098032b8c","data":"AQA=","attributes":7,"oneShot":true}`,
		boot.GrubKind:          `{"file":{"host":"/grubenv","volume":{"device":"","type":"","uuid":""}},"name":"next_entry","value":"x","block":"","after":""}`,
		storage.PartitionKind:  `{"disk":{"device":"/none","table":"gpt","guid":"6c6f6f70-0000-4000-8000-000000000001"},"after":{"number":4},"pieces":[{"offset":1,"before":"","after":""}]}`,
		storage.TableKind:      `{"disk":{"device":"/none","table":"mbr","guid":"12345678"},"parts":[{"after":{"number":2}},{"before":{"number":3}}],"pieces":[{"offset":1,"before":"","after":""}]}`,
		storage.PhysicalKind:   `{"volume":{"device":"/none","type":"LVM2_member","uuid":"x"},"before":2,"after":1,"room":3}`,
		storage.FilesystemKind: `{"volume":{"device":"/none","type":"ext4","uuid":"x"},"before":2,"after":1}`,
		storage.SwapKind:       `{"area":{"device":"/none"},"header":"","uuid":"x"}`,
		storage.StageFileKind:  `{"place":{"host":"/x","volume":{"device":"","type":"","uuid":""}},"inside":0,"offset":0,"size":4096}`,
		storage.SwapFileKind:   `{"place":{"host":"/x","volume":{"device":"","type":"","uuid":""}},"mode":384,"uid":0,"gid":0,"size":8192,"header":"","on":true,"priority":-2}`,
	} {
		f.Add([]byte(head + `"kind":"` + kind + `","change":` + change + `}`))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/r1.json", b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := registration.Open(registration.Config{
			Dirs: []string{dir}, ReadOnly: true, Kinds: All(),
			Env: registration.Env{Root: dir, Run: tool.Exec{}, Variables: efi.MapVariables{}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if list := s.List(t.Context()); len(list) != 1 {
			t.Fatalf("%d registrations", len(list))
		}
		if _, err := s.Undo(t.Context(), registration.Selection{All: true, DryRun: true}); err != nil {
			t.Fatal(err)
		}
	})
}
