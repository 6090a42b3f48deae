// Package efi makes what UEFI firmware starts, and tells the firmware to start
// it: unified kernel images, and boot entries in EFI variables.
//
// A unified kernel image (UKI) is systemd's stub, a PE executable, with the
// parts of a boot added as PE sections:
//
//	stub    headers | .text .rodata .data .sbat .sdmagic .reloc
//	UKI     headers | the same, then .osrel .cmdline .uname .linux .initrd
//
// See https://uapi-group.org/specifications/specs/unified_kernel_image/.
// The package does not fetch stubs or kernels and does not mount anything.
package efi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Source is bytes of known size that can be read more than once:
// *bytes.Reader, *strings.Reader, *io.SectionReader over a file.
type Source interface {
	io.ReaderAt
	Size() int64
}

// UKI is what goes into a unified kernel image.
type UKI struct {
	// Stub is systemd's linuxx64.efi.stub or linuxaa64.efi.stub, unsigned.
	Stub Source
	// Kernel is a kernel with EFI stub for the machine of Stub.
	Kernel Source
	// Initrd are initramfs archives, joined in this order; each but the last
	// is padded with zeros to 4 bytes, as the kernel wants it.
	Initrd []Source
	// Cmdline is the kernel's command line. Without one the stub takes the
	// boot loader's.
	Cmdline string
	// OSRelease is the text of an os-release(5) file. systemd-boot lists only
	// images that have one.
	OSRelease string
	// Uname is the kernel's release, as uname -r prints it.
	Uname string
}

// Errors that callers can tell apart with errors.Is.
var (
	// ErrMachine: stub and kernel are for different machines, or for one that
	// vic does not know.
	ErrMachine = errors.New("wrong machine")
	// ErrSigned: the stub carries signatures, which adding sections breaks.
	ErrSigned = errors.New("image is signed")
)

// WriteUKI writes the image for u to w. The bytes depend on nothing but u: the
// time stamp is zero. The PE checksum stands before the data that it sums, so
// every source is read twice; nothing larger than a buffer is kept in memory.
func WriteUKI(w io.Writer, u UKI) error {
	l, err := layoutUKI(u)
	if err != nil {
		return fmt.Errorf("lay out UKI: %w", err)
	}
	var sum checksum
	if err := l.writeTo(&sum); err != nil {
		return fmt.Errorf("sum UKI: %w", err)
	}
	binary.LittleEndian.PutUint32(l.header[l.checksumAt:], sum.value())
	if err := l.writeTo(w); err != nil {
		return fmt.Errorf("write UKI: %w", err)
	}
	return nil
}

// ukiLayout is the image as pieces that follow each other without gaps, except
// for zeros up to their padded size.
type ukiLayout struct {
	header     []byte
	checksumAt int
	pieces     []piece
}

type piece struct {
	name   string
	src    Source
	off    int64 // in src
	size   int64
	padded int64
}

func (l *ukiLayout) writeTo(w io.Writer) error {
	if _, err := w.Write(l.header); err != nil {
		return err
	}
	for _, p := range l.pieces {
		n, err := io.Copy(w, io.NewSectionReader(p.src, p.off, p.size))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if n != p.size {
			return fmt.Errorf("%s: source ends after %d of %d bytes: %w", p.name, n, p.size, io.ErrUnexpectedEOF)
		}
		if _, err := w.Write(make([]byte, p.padded-p.size)); err != nil {
			return err
		}
	}
	return nil
}

// newSection is a section to add, with its content in one or more sources.
type newSection struct {
	name  string
	flags uint32
	parts []Source
}

func (s newSection) pieces(fileAlign int64) (ps []piece, size int64) {
	for i, src := range s.parts {
		p := piece{name: s.name, src: src, size: src.Size(), padded: src.Size()}
		if i < len(s.parts)-1 {
			p.padded = roundUp(p.size, 4)
		}
		size += p.padded
		ps = append(ps, p)
	}
	ps[len(ps)-1].padded += roundUp(size, fileAlign) - size
	return ps, size
}

func layoutUKI(u UKI) (*ukiLayout, error) {
	stub, err := parseStub(u.Stub)
	if err != nil {
		return nil, fmt.Errorf("stub: %w", err)
	}
	kernel, err := parseKernel(u.Kernel, stub.machine)
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	sections, err := u.sections()
	if err != nil {
		return nil, err
	}
	if !kernel.nxCompatible() {
		// Firmware that enforces NX would enforce it on the kernel as well.
		at := stub.opt() + optDLLFlags
		binary.LittleEndian.PutUint16(stub.header[at:], uint16(stub.u16(at))&^dllNXCompat)
	}
	start, end := int64(len(stub.header)), stub.rawEnd()
	l := &ukiLayout{header: stub.header, checksumAt: stub.opt() + optChecksum}
	padded := roundUp(end, stub.u32(stub.opt()+optFileAlign)) - start
	l.pieces = []piece{{name: "stub", src: u.Stub, off: start, size: end - start, padded: padded}}
	return l, l.add(stub, sections)
}

// sections lists what to add, in the order of systemd's ukify.
func (u UKI) sections() ([]newSection, error) {
	var out []newSection
	for _, t := range []struct{ name, text string }{
		{".osrel", u.OSRelease}, {".cmdline", u.Cmdline}, {".uname", u.Uname},
	} {
		if strings.ContainsRune(t.text, 0) || !utf8.ValidString(t.text) {
			return nil, fmt.Errorf("section %s: text is not UTF-8 without NUL", t.name)
		}
		if t.name != ".osrel" && strings.ContainsAny(t.text, "\r\n") {
			return nil, fmt.Errorf("section %s: text has more than one line", t.name)
		}
		if t.text != "" {
			out = append(out, newSection{t.name, sectionInitData | sectionRead, []Source{strings.NewReader(t.text)}})
		}
	}
	// Stubs before v254 run the kernel's handover entry point in place.
	out = append(out, newSection{".linux", sectionCode | sectionRead, []Source{u.Kernel}})
	if len(u.Initrd) > 0 {
		out = append(out, newSection{".initrd", sectionInitData | sectionRead, u.Initrd})
	}
	return out, nil
}

// add appends the sections to the layout and to the headers of stub.
func (l *ukiLayout) add(stub *peImage, sections []newSection) error {
	fileAlign, sectAlign := stub.u32(stub.opt()+optFileAlign), stub.u32(stub.opt()+optSectAlign)
	raw, virtual := roundUp(stub.rawEnd(), fileAlign), stub.virtualEnd()
	initData := stub.u32(stub.opt() + optInitData)
	for _, s := range sections {
		pieces, size := s.pieces(fileAlign)
		if size == 0 {
			return fmt.Errorf("section %s: source is empty", s.name)
		}
		virtual = roundUp(virtual, sectAlign)
		if raw+roundUp(size, fileAlign) > math.MaxUint32 || roundUp(virtual+size, sectAlign) > math.MaxUint32 {
			return fmt.Errorf("section %s: %d bytes make the image larger than 4 GiB", s.name, size)
		}
		h := sectionHeader{Name: s.name, VirtualSize: uint32(size), VirtualPos: uint32(virtual),
			RawSize: uint32(roundUp(size, fileAlign)), RawPos: uint32(raw), Flags: s.flags}
		if err := stub.appendHeader(h); err != nil {
			return fmt.Errorf("section %s: %w", s.name, err)
		}
		l.pieces = append(l.pieces, pieces...)
		raw += int64(h.RawSize)
		virtual += size
		initData += size
	}
	le := binary.LittleEndian
	le.PutUint32(l.header[stub.opt()+optImageSize:], uint32(roundUp(virtual, sectAlign)))
	le.PutUint32(l.header[stub.opt()+optInitData:], uint32(min(initData, math.MaxUint32)))
	le.PutUint32(l.header[stub.opt()+optChecksum:], 0)
	le.PutUint32(l.header[stub.coff+coffTime:], 0)
	return nil
}

// appendHeader adds an entry to the section table in p.header.
func (p *peImage) appendHeader(s sectionHeader) error {
	for _, have := range p.sections {
		if have.Name == s.Name {
			return errors.New("stub has a section of this name already")
		}
	}
	at := p.sectionTable() + len(p.sections)*sectionHeaderSize
	if at+sectionHeaderSize > len(p.header) {
		return fmt.Errorf("stub has no room for it in its headers of %d bytes", len(p.header))
	}
	slot := p.header[at : at+sectionHeaderSize]
	if !bytes.Equal(slot, make([]byte, sectionHeaderSize)) {
		return errors.New("stub has data behind its section table")
	}
	s.put(slot)
	p.sections = append(p.sections, s)
	binary.LittleEndian.PutUint16(p.header[p.coff+coffSections:], uint16(len(p.sections)))
	return nil
}

func roundUp(n, align int64) int64 { return (n + align - 1) / align * align }
