package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Machine is the Machine field of a PE/COFF file header.
type Machine uint16

// The machines that vic makes images for.
const (
	AMD64 Machine = 0x8664
	ARM64 Machine = 0xaa64
)

func (m Machine) String() string {
	switch m {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return fmt.Sprintf("machine %#04x", uint16(m))
}

// Sizes and offsets in a PE32+ image, from Microsoft's "PE Format": offsets
// called coff are from the COFF header (after "PE\0\0"), those called opt from
// the optional header behind it.
const (
	dosPEPointer = 0x3c
	coffSize     = 20
	optMinSize   = 112 // PE32+ up to its data directories

	coffSections   = 2
	coffTime       = 4
	coffSymbols    = 8
	coffNumSymbols = 12
	coffOptSize    = 16
	coffFlags      = 18

	optInitData   = 8
	optSectAlign  = 32
	optFileAlign  = 36
	optImageSize  = 56
	optHeaderSize = 60
	optChecksum   = 64
	optSubsystem  = 68
	optDLLFlags   = 70
	optDirCount   = 108
	optDirs       = 112

	magicPE32Plus        = 0x20b
	subsystemApplication = 10
	dirSecurity          = 4
	sectionHeaderSize    = 40
	maxHeader            = 1 << 20
	maxSections          = 96 // what the Windows loader, and so every PE tool, takes

	flagSymbolsStripped = 0x0008
	dllNXCompat         = 0x0100

	sectionCode     = 0x00000020
	sectionInitData = 0x00000040
	sectionRead     = 0x40000000
)

// sectionHeader is an entry of the section table. Virtual addresses are
// relative to the image base.
type sectionHeader struct {
	Name                    string
	VirtualSize, VirtualPos uint32
	RawSize, RawPos         uint32
	Flags                   uint32
}

func (s sectionHeader) put(b []byte) {
	clear(b[:sectionHeaderSize])
	copy(b[:8], s.Name)
	le := binary.LittleEndian
	le.PutUint32(b[8:], s.VirtualSize)
	le.PutUint32(b[12:], s.VirtualPos)
	le.PutUint32(b[16:], s.RawSize)
	le.PutUint32(b[20:], s.RawPos)
	le.PutUint32(b[36:], s.Flags)
}

func parseSectionHeader(b []byte) sectionHeader {
	le := binary.LittleEndian
	return sectionHeader{
		Name:        strings.TrimRight(string(b[:8]), "\x00"),
		VirtualSize: le.Uint32(b[8:]),
		VirtualPos:  le.Uint32(b[12:]),
		RawSize:     le.Uint32(b[16:]),
		RawPos:      le.Uint32(b[20:]),
		Flags:       le.Uint32(b[36:]),
	}
}

// peImage is a PE32+ image whose headers have been read and checked.
type peImage struct {
	src      Source
	header   []byte // the first SizeOfHeaders bytes
	coff     int    // offset of the COFF header in header
	machine  Machine
	sections []sectionHeader
}

func (p *peImage) opt() int          { return p.coff + coffSize }
func (p *peImage) u16(off int) int   { return int(binary.LittleEndian.Uint16(p.header[off:])) }
func (p *peImage) u32(off int) int64 { return int64(binary.LittleEndian.Uint32(p.header[off:])) }
func (p *peImage) sectionTable() int { return p.opt() + p.u16(p.coff+coffOptSize) }
func (p *peImage) subsystem() int    { return p.u16(p.opt() + optSubsystem) }
func (p *peImage) nxCompatible() bool {
	return p.u16(p.opt()+optDLLFlags)&dllNXCompat != 0
}

// signed says whether the image carries Authenticode signatures.
func (p *peImage) signed() bool {
	if p.u32(p.opt()+optDirCount) <= dirSecurity {
		return false
	}
	return p.u32(p.opt()+optDirs+8*dirSecurity) != 0
}

// rawEnd is where the data of the last section ends in the file.
func (p *peImage) rawEnd() int64 {
	end := int64(len(p.header))
	for _, s := range p.sections {
		if s.RawSize > 0 {
			end = max(end, int64(s.RawPos)+int64(s.RawSize))
		}
	}
	return end
}

// virtualEnd is where the last section ends in memory.
func (p *peImage) virtualEnd() int64 {
	var end int64
	for _, s := range p.sections {
		end = max(end, int64(s.VirtualPos)+int64(max(s.VirtualSize, 1)))
	}
	return end
}

var errNotPE = errors.New("not a PE image")

// parsePE reads and checks the headers of a PE32+ image.
func parsePE(src Source) (*peImage, error) {
	p := &peImage{src: src}
	dos, err := readAt(src, 0, 64)
	if err != nil || dos[0] != 'M' || dos[1] != 'Z' {
		return nil, errNotPE
	}
	pe := int64(binary.LittleEndian.Uint32(dos[dosPEPointer:]))
	fixed, err := readAt(src, pe, 4+coffSize+optMinSize)
	if err != nil || string(fixed[:4]) != "PE\x00\x00" {
		return nil, errNotPE
	}
	if magic := binary.LittleEndian.Uint16(fixed[4+coffSize:]); magic != magicPE32Plus {
		return nil, fmt.Errorf("PE optional header has magic %#x, want PE32+ (%#x)", magic, magicPE32Plus)
	}
	size := int64(binary.LittleEndian.Uint32(fixed[4+coffSize+optHeaderSize:]))
	if size > maxHeader || size < pe+int64(len(fixed)) {
		return nil, fmt.Errorf("PE headers claim %d bytes", size)
	}
	if p.header, err = readAt(src, 0, size); err != nil {
		return nil, fmt.Errorf("read PE headers: %w", err)
	}
	p.coff = int(pe) + 4
	p.machine = Machine(p.u16(p.coff))
	return p, p.parseSections()
}

func (p *peImage) parseSections() error {
	n, table := p.u16(p.coff+coffSections), p.sectionTable()
	if dirs := p.u32(p.opt() + optDirCount); dirs > 16 || int64(p.opt()+optDirs)+8*dirs > int64(table) {
		return fmt.Errorf("PE optional header is too small for its %d data directories", dirs)
	}
	if n > maxSections || table+n*sectionHeaderSize > len(p.header) {
		return fmt.Errorf("PE section table with %d entries does not fit its headers", n)
	}
	for i := range n {
		s := parseSectionHeader(p.header[table+i*sectionHeaderSize:])
		if s.RawSize > 0 && int64(s.RawPos)+int64(s.RawSize) > p.src.Size() {
			return fmt.Errorf("PE section %q lies behind the end of the file", s.Name)
		}
		p.sections = append(p.sections, s)
	}
	return nil
}

// data is the content of a section: what the file has of it, without the
// padding up to the file alignment.
func (p *peImage) data(s sectionHeader) *io.SectionReader {
	return io.NewSectionReader(p.src, int64(s.RawPos), int64(min(s.RawSize, s.VirtualSize)))
}

// readAt returns exactly n bytes of src.
func readAt(src Source, off, n int64) ([]byte, error) {
	if off+n > src.Size() {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if got, err := src.ReadAt(b, off); got < len(b) {
		return nil, err
	}
	return b, nil
}
