// Package raspberry makes cards for Raspberry Pis, of the same bundle (kernel,
// initramfs, system image) that boots anywhere else: without root, without running
// anything of the board's, and with the same bytes every time.
//
//	MBR       the boot ROM of a Pi 3 reads nothing else
//	4 MiB     1, slot A: FAT32 with firmware, device trees, kernel, initramfs,
//	          system.erofs
//	          3, state: ext4, 16 MiB
//
// On the card (internal/agent/appliance) there will be a slot B at its end, number
// 2, and a state that fills all between. A slot is whole: an update is one
// partition written, and one sector that chooses it. Slot A is where every board
// looks without being told, however old its firmware is.
//
// The package flashes nothing and knows no secret; State makes a partition of those
// that it is given.
package raspberry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/image/fat"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/slot"
)

// Spec is what a card has beside its system.
type Spec struct {
	// Serial is a console on the UART of the pins.
	Serial bool
	// Config are lines of config.txt, Overlays are NAME or NAME,PARAMETER=VALUE,...
	Config, Overlays []string
	// Cmdline are kernel parameters.
	Cmdline []string
}

const (
	mib        = 1 << 20
	sectorSize = 512
	// slotStart is after the first block that a card erases at once.
	slotStart = 4 * mib
	// slotSize has room for updates to get larger, and keeps an image with one slot
	// below 150 MB.
	slotSize = 112 * mib
	// statePartition is its number: 2 is slot B.
	statePartition = 3

	typeFAT32LBA = 0x0c
	typeLinux    = 0x83
)

// build is one card in the making.
type build struct {
	env    builder.Env
	bundle *builder.Bundle
	spec   Spec
	pieces []piece // of the packages
	target Target

	files []fat.File
	// anchored is how many of the first files an update of slot A keeps.
	anchored int
	parts    []builder.Part
	opened   []*os.File
	seed     [sha256.Size]byte
}

func (b *build) close() {
	for _, f := range b.opened {
		f.Close()
	}
}

// disk is the disk signature, never zero: what is content makes that of a new card.
func (b *build) disk() uint32 {
	if b.target.Disk != 0 {
		return b.target.Disk
	}
	return binary.BigEndian.Uint32(b.seed[:4]) | 1
}

// add puts bytes into the slot.
func (b *build) add(name, origin string, data []byte) {
	b.files = append(b.files, fat.File{Path: name, Source: bytes.NewReader(data)})
	b.parts = append(b.parts, builder.Part{Origin: origin, Size: int64(len(data)), Raw: int64(len(data)), Files: 1})
}

// addBundled puts a file of the bundle into the slot.
func (b *build) addBundled(name, from string) error {
	f, err := os.Open(b.bundle.Path(from))
	if err != nil {
		return err
	}
	b.opened = append(b.opened, f)
	for _, file := range b.bundle.Files {
		if file.Name == from {
			b.files = append(b.files, fat.File{Path: name, Source: section(f, file.Size)})
			b.parts = append(b.parts, file.Parts...)
			return nil
		}
	}
	return fmt.Errorf("the bundle lists no %s", from)
}

// prepare gathers all files of the slot, in the order in which they are on it: what
// the board reads first, and what names a slot, come first. What an update of slot A
// keeps is anchored.
func (b *build) prepare(ctx context.Context) error {
	kernel, err := b.kernel()
	if err != nil {
		return err
	}
	h := sha256.New()
	fmt.Fprintf(h, "vic card 2\n%q\n%x\n", []any{b.spec, b.env.Time.Unix(), b.bundle.Files}, sha256.Sum256(kernel))
	for _, p := range b.pieces {
		fmt.Fprintf(h, "%s %x\n", p.name, sha256.Sum256(p.data))
	}
	system := hex.EncodeToString(h.Sum(nil))
	fmt.Fprintf(h, "slot %08x-%02x\n", b.target.Disk, b.target.Number)
	h.Sum(b.seed[:0])

	first := b.pieces[0] // bootcode.bin
	if b.target.FirstStage != nil {
		first = piece{first.name, own, b.target.FirstStage}
	}
	b.add(first.name, first.origin, first.data)
	if b.anchored++; b.target.Number == slot.A {
		b.add(slot.AutobootFile, own, b.target.choice())
		b.anchored++
	}
	b.add(configFile, own, []byte(b.spec.configText()))
	b.add(cmdlineFile, own, []byte(b.spec.cmdline(b.disk(), b.target.Number)))
	for _, p := range b.pieces[1:] {
		b.add(p.name, p.origin, p.data)
	}
	b.add(kernelFile, "kernel:"+b.bundle.Kernel, kernel)
	if err := errors.Join(b.addBundled(initramfsFile, builder.InitramfsFile), b.addBundled(systemFile, builder.SystemFile), ctx.Err()); err != nil {
		return err
	}
	return b.addManifest(system)
}

// own is the origin of what is made here.
const own = "vic:configuration"

// kernel is that of the bundle, compressed.
func (b *build) kernel() ([]byte, error) {
	i := slices.IndexFunc(b.bundle.Files, func(f builder.File) bool { return f.Name == builder.KernelFile })
	if i < 0 {
		return nil, errors.New("the bundle lists no kernel")
	}
	files, err := kept(b.env, "kernel-"+b.bundle.Files[i].SHA256, func() (map[string][]byte, error) {
		packed, err := packKernel(b.bundle.Path(builder.KernelFile))
		return map[string][]byte{kernelFile: packed}, err
	})
	return files[kernelFile], err
}

// packKernel compresses a kernel as the firmware unpacks it, to a third.
func packKernel(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(raw); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// volume is the file system of the slot.
func (b *build) volume() (*fat.Volume, error) {
	name := slot.Name(b.target.Number)
	v, err := fat.New(fat.Config{
		Size: b.target.Size, Label: "VIC-" + name, VolumeID: binary.BigEndian.Uint32(b.seed[4:8]), Time: b.env.Time,
		Hidden: uint32(b.target.Offset / sectorSize), Files: b.files, Anchored: b.anchored,
	})
	if err != nil {
		return nil, fmt.Errorf("slot %s: %w", name, err)
	}
	return v, nil
}

// write writes the image, with a state: the table last.
func (b *build) write(ctx context.Context, path string, state []byte) (err error) {
	volume, err := b.volume()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(slotStart + slotSize + StateSize); err != nil {
		return err
	}
	if err := volume.WriteAt(f, slotStart); err != nil {
		return err
	}
	if err := writeSparse(f, state, slotStart+slotSize); err != nil {
		return err
	}
	return b.writeTable(ctx, path)
}

func (b *build) writeTable(ctx context.Context, path string) (err error) {
	d, err := disk.OpenImage(path, os.O_RDWR, sectorSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	t := layout.Table{Kind: layout.KindMBR, SectorSize: sectorSize, Size: d.Size(), Entries: []layout.Entry{
		entry(1, typeFAT32LBA, slotStart, slotSize),
		entry(statePartition, typeLinux, slotStart+slotSize, StateSize),
	}}
	binary.BigEndian.PutUint32(t.GUID[:4], b.disk())
	return disk.WriteMBR(ctx, d, t)
}

func entry(number int, typ byte, offset, size int64) layout.Entry {
	return layout.Entry{Number: number, FirstLBA: uint64(offset / sectorSize), LastLBA: uint64((offset+size)/sectorSize - 1),
		MBR: &layout.MBREntry{Type: typ, Part: "primary"}}
}

func (b *build) stateUUID() uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceOID, b.seed[:]) }

// writeSparse leaves out blocks of zeros.
func writeSparse(f *os.File, data []byte, at int64) error {
	const block = 4096
	zero := make([]byte, block)
	for off := 0; off < len(data); off += block {
		b := data[off:min(off+block, len(data))]
		if bytes.Equal(b, zero[:len(b)]) {
			continue
		}
		if _, err := f.WriteAt(b, at+int64(off)); err != nil {
			return err
		}
	}
	return nil
}

// tidied removes what an interrupted build left.
func tidied(dir string, f func(tmp string) error) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make output folder: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, ".vic-")
	if err != nil {
		return fmt.Errorf("make output folder: %w", err)
	}
	return errors.Join(f(tmp), os.RemoveAll(filepath.Clean(tmp)))
}
