package reinstall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// A BIOS starts the RAM system from the stage of a disk that has no partition table
// at all: what is half-written at a power cut does not matter.
func TestStageStartsWithoutATable(t *testing.T) {
	lab.Need(t)
	needMatrix(t)
	tooltest.Need(t, "grub-mkimage")
	const mib = 1 << 20
	b := lab.Bundle(t)
	place, core := builder.Range{Offset: 5 * mib, Size: 160 * mib}, builder.Range{Offset: 3 * mib, Size: mib}
	boot := builder.StageBoot{Cmdline: "console=ttyS0 panic=-1", GRUB: "/usr/lib/grub/i386-pc"}
	head, img, err := b.StageCore(t.Context(), builder.Env{Host: tool.Exec{}, Cache: t.TempDir()}, boot, place, core, stage.InVolume(stage.Kernel), stage.InVolume(stage.Initrd))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 200*mib); err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(path, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt([]byte{0x55, 0xaa}, 510); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt(img, core.Offset); err != nil {
		t.Fatal(err)
	}
	writeStage(t, section{d, place.Offset}, b, boot, place)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{Name: "core", Firmware: "bios", MemoryMiB: 384, Dir: filepath.Join(t.TempDir(), "run"), Disks: []vm.Disk{{Path: path, Format: "raw", Cache: "unsafe"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	lab.Shows(ctx, t, m, "Linux version")
	lab.Shows(ctx, t, m, "Run /init")
}

// section is the stage's range of a disk.
type section struct {
	*disk.File
	at int64
}

func (s section) WriteAt(p []byte, off int64) (int, error) { return s.File.WriteAt(p, s.at+off) }
func (s section) ReadAt(p []byte, off int64) (int, error)  { return s.File.ReadAt(p, s.at+off) }

func writeStage(t *testing.T, w volume.Device, b *builder.Bundle, boot builder.StageBoot, place builder.Range) {
	t.Helper()
	var initrd bytes.Buffer
	if err := b.StageInitrd(&initrd, boot); err != nil {
		t.Fatal(err)
	}
	kernel, err := os.ReadFile(b.Path(builder.KernelFile))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{stage.Kernel: kernel, stage.Initrd: initrd.Bytes(), stage.Payload: []byte("none"), stage.Request: []byte("{}")}
	doc := stage.Document{
		Version: stage.Version, ID: uuid.UUID{1}, Firmware: "bios", Disk: request.DiskSelector{Size: 200 << 20}, Created: time.Unix(1<<30, 0),
		Stage: stage.Place{Number: 2, Offset: place.Offset, Size: place.Size}, Core: &stage.Place{Number: 1, Offset: 3 << 20, Size: 1 << 20},
		BootCode: make([]byte, 440), OldBootCode: make([]byte, 440),
	}
	for name, content := range files {
		doc.Files = append(doc.Files, stage.File{Name: name, Size: int64(len(content)), SHA256: fmt.Sprintf("%x", sha256.Sum256(content))})
	}
	err = volume.Write(t.Context(), w, volume.Config{Document: doc, Open: func(name string) (volume.Source, error) { return volume.Bytes(files[name]), nil }})
	if err != nil {
		t.Fatal(err)
	}
}
