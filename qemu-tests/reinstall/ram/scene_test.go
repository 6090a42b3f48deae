package ram

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

const (
	mib      = 1 << 20
	diskSize = 6 << 30
	memory   = 512 // MiB: less than the payload and what the installer needs beside it
	serial   = "vic-target"
)

// oldCode is the system before: a boot sector that says OLD on the serial line and
// powers off. What follows it are zeros.
var oldCode = []byte{
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'O', 0xee, 0xb0, 'L', 0xee, 0xb0, 'D', 0xee, 0xb0, '\n', 0xee, // mov al, c; out dx, al
	0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xfa, 0xf4, 0xeb, 0xfd, // ACPI S5: out 0x604, 0x2000; hang
}

// scene is a machine that is about to start the RAM system for the first time.
type scene struct {
	firmware    string
	doc         stage.Document
	disk, vars  string
	initrd, cmd string
}

// parts are what a stage is made of.
type parts struct {
	files map[string]string // name -> file of this machine
	core  []byte
}

// newScene makes the disk: the system before, the stage at the end, and for BIOS
// the partition of GRUB's core image before that.
func newScene(t *testing.T, firmware string) scene {
	t.Helper()
	tooltest.Need(t, "grub-mkimage")
	s := scene{firmware: firmware, disk: filepath.Join(t.TempDir(), "disk.img"), vars: filepath.Join(t.TempDir(), "vars.fd")}
	s.doc = stage.Document{
		Version: stage.Version, ID: uuid.New(), Created: time.Now().UTC().Truncate(time.Second), Firmware: firmware,
		Disk: request.DiskSelector{Serial: serial, Size: diskSize}, Grow: &stage.Grow{Mountpoint: "/"},
	}
	p := s.parts(t)
	size, err := volume.Size(s.doc, 512)
	if err != nil {
		t.Fatal(err)
	}
	size += 128 * mib // for the initrd or UKI, which is not among the files yet
	s.doc.Stage = stage.Place{Number: 2, GUID: uuid.New(), Offset: diskSize - 2*mib - size, Size: size}
	if firmware == "bios" {
		s.doc.Core = &stage.Place{Number: 3, GUID: uuid.New(), Offset: s.doc.Stage.Offset - mib, Size: mib}
	}
	s.boot(t, &p)
	s.makeDisk(t)
	s.writeStage(t, p)
	return s
}

// add puts a file into the document.
func (s *scene) add(t *testing.T, p *parts, name, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		t.Fatal(err)
	}
	p.files[name] = path
	s.doc.Files = append(s.doc.Files, stage.File{Name: name, Size: n, SHA256: fmt.Sprintf("%x", h.Sum(nil))})
}

func (s *scene) addText(t *testing.T, p *parts, name string, text []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.add(t, p, name, path)
}

// parts are the files that the document in the initrd knows.
func (s *scene) parts(t *testing.T) parts {
	t.Helper()
	p := parts{files: map[string]string{}}
	s.add(t, &p, stage.Payload, lab.Payload(t).Path(builder.ImageFile))
	doc, err := json.Marshal(newRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	s.addText(t, &p, stage.Request, doc)
	var secrets bytes.Buffer
	if err := secret.NewSet(map[string]string{"password": lab.Password}).EncodeForTarget(&secrets); err != nil {
		t.Fatal(err)
	}
	s.addText(t, &p, stage.Secrets, secrets.Bytes())
	if s.firmware == "bios" {
		s.add(t, &p, stage.Kernel, lab.Bundle(t).Path(builder.KernelFile))
		s.doc.Files = append(s.doc.Files, stage.File{Name: stage.CoreImage, Size: mib / 2})
	}
	return p
}

// newRequest is what the reinstalled system is to be.
func newRequest(t *testing.T) request.Request {
	t.Helper()
	p := lab.Payload(t)
	file, err := p.Image()
	if err != nil {
		t.Fatal(err)
	}
	text, err := images.Layout(images.DefaultLayout, p.Arch)
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Parse("default.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	sys := p.System
	sys.Hostname = "again"
	sys.Users = []request.User{{Name: lab.User, SSHKeys: []string{lab.AuthorizedKey(t)}, PasswordSecret: "password", Sudo: true}}
	sys.Cmdline = []string{"console=ttyS0", "systemd.default_device_timeout_sec=300"}
	return request.Request{
		Version: request.Version, Item: p.Item, Layout: l, System: sys, Finish: request.FinishReboot,
		Payload: request.Payload{Format: p.Format, Size: file.Size, SHA256: file.SHA256, TreeSize: p.TreeSize, Arch: p.Arch, Kernel: p.Kernel, Source: request.Source{Path: "/none"}},
		Disks:   map[string]request.DiskSelector{"main": {Serial: serial}},
	}
}

// boot makes what the stage is started by, with the document as it is in it, and
// completes the document.
func (s *scene) boot(t *testing.T, p *parts) {
	t.Helper()
	b, env, dir := lab.Bundle(t), builder.Env{Cache: t.TempDir()}, t.TempDir()
	with := builder.StageBoot{Cmdline: "console=ttyS0 panic=10", GRUB: "/usr/lib/grub/i386-pc", Stub: "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"}
	s.cmd = b.StageCmdline(with)
	if s.firmware == "bios" {
		code, core, err := b.StageCore(t.Context(), env, with, builder.Range{Offset: s.doc.Stage.Offset, Size: s.doc.Stage.Size},
			builder.Range{Offset: s.doc.Core.Offset, Size: s.doc.Core.Size}, stage.InVolume(stage.Kernel), stage.InVolume(stage.Initrd))
		if err != nil {
			t.Fatal(err)
		}
		p.core, s.doc.BootCode = core, code
		s.doc.OldBootCode = append(bytes.Clone(oldCode), make([]byte, 440-len(oldCode))...)
		s.doc.Files = s.doc.Files[:len(s.doc.Files)-1] // the estimate
		s.addText(t, p, stage.CoreImage, core)
	}
	var doc, segment bytes.Buffer
	if err := s.doc.Encode(&doc); err != nil {
		t.Fatal(err)
	}
	if err := builder.StageSegment(&segment, map[string][]byte{stage.Path: doc.Bytes()}); err != nil {
		t.Fatal(err)
	}
	with.Segment = segment.Bytes()
	s.initrd = filepath.Join(dir, "initrd")
	f, err := os.Create(s.initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := b.StageInitrd(f, with); err != nil {
		t.Fatal(err)
	}
	if s.firmware == "bios" {
		s.add(t, p, stage.Initrd, s.initrd)
		return
	}
	uki := filepath.Join(dir, "uki")
	if err := b.StageUKI(t.Context(), env, with, uki); err != nil {
		t.Fatal(err)
	}
	s.add(t, p, stage.UKIx64, uki)
}

// makeDisk makes the disk with the system before.
func (s *scene) makeDisk(t *testing.T) {
	t.Helper()
	if err := vm.BlankDisk(s.disk, diskSize); err != nil {
		t.Fatal(err)
	}
	part := func(p stage.Place, typ, label string) []string {
		n := fmt.Sprint(p.Number)
		return []string{"-n", fmt.Sprintf("%s:%d:%d", n, p.Offset/512, (p.Offset+p.Size)/512-1), "-t", n + ":" + typ, "-c", n + ":" + label, "-u", n + ":" + p.GUID.String()}
	}
	args := append([]string{"-n", "1:2048:+1G", "-c", "1:old"}, part(s.doc.Stage, "EF00", stage.Label)...)
	if s.doc.Core != nil {
		args = append(args, part(*s.doc.Core, "8300", stage.BootLabel)...)
	}
	lab.Say(t, "sgdisk", append(args, s.disk)...)
	s.makeOld(t, "1024M")
}

// makeOld makes the file system and the boot code of the system before.
func (s *scene) makeOld(t *testing.T, size string) {
	t.Helper()
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "letter"), []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-d", tree, "-E", "offset=1048576", s.disk, size)
	d, err := direct.Open(s.disk, os.O_RDWR, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.WriteAt(oldCode, 0); err != nil {
		t.Fatal(err)
	}
}

// writeStage writes the stage as the system before does.
func (s *scene) writeStage(t *testing.T, p parts) {
	t.Helper()
	dev, err := journal.OpenStage(s.disk, s.doc.Stage)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	open := func(name string) (volume.Source, error) { return os.Open(p.files[name]) }
	if err := volume.Write(t.Context(), dev, volume.Config{Document: s.doc, Open: open}); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dev, s.doc.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(journal.Record{State: journal.Staged}); err != nil {
		t.Fatal(err)
	}
}

// config is the machine; without a kernel it starts what its disk has.
func (s *scene) config(t *testing.T, d vm.Disk) vm.Config {
	t.Helper()
	d.Path, d.Serial = s.disk, serial
	c := vm.Config{Name: "ram-" + s.firmware, Dir: filepath.Join(t.TempDir(), "run"), Firmware: s.firmware, MemoryMiB: memory, NoReboot: true, Events: true,
		Disks: []vm.Disk{d}, NICs: []vm.NIC{{Restrict: true, Forward: []int{22}}}}
	if s.firmware == "uefi" {
		c.Vars = s.vars
	}
	return c
}

// ramSystem is the machine as a one-shot boot starts it.
func (s *scene) ramSystem(t *testing.T, d vm.Disk) vm.Config {
	t.Helper()
	c := s.config(t, d)
	c.Kernel, c.Initrd, c.Cmdline = lab.Bundle(t).Path(builder.KernelFile), []string{s.initrd}, s.cmd
	return c
}
