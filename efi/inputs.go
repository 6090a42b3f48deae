package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// parseStub checks that src can be extended: an unsigned EFI application with
// aligned, ordered sections and nothing but symbols behind them. The symbols
// are taken out of the headers it returns.
func parseStub(src Source) (*peImage, error) {
	if src == nil {
		return nil, errors.New("is missing")
	}
	p, err := parsePE(src)
	if err != nil {
		return nil, err
	}
	if p.machine != AMD64 && p.machine != ARM64 {
		return nil, fmt.Errorf("is for %s: %w", p.machine, ErrMachine)
	}
	if p.subsystem() != subsystemApplication {
		return nil, fmt.Errorf("has PE subsystem %d, want EFI application (%d)", p.subsystem(), subsystemApplication)
	}
	if p.signed() {
		return nil, ErrSigned
	}
	for _, off := range []int{optFileAlign, optSectAlign} {
		if a := p.u32(p.opt() + off); bits.OnesCount32(uint32(a)) != 1 || a > 1<<16 {
			return nil, fmt.Errorf("has alignment %d, want a power of two up to 65536", a)
		}
	}
	if err := p.checkSections(); err != nil {
		return nil, err
	}
	return p, p.dropSymbols()
}

// checkSections refuses sections that overlap in the file or in memory.
func (p *peImage) checkSections() error {
	if len(p.sections) == 0 || !slices.ContainsFunc(p.sections, func(s sectionHeader) bool { return s.Name == ".sdmagic" }) {
		// systemd has marked its stubs with .sdmagic since v247.
		return errors.New("has no section .sdmagic, so is not systemd's stub")
	}
	raw, virtual := int64(len(p.header)), int64(len(p.header))
	for _, s := range p.sections {
		if s.RawSize > 0 {
			if int64(s.RawPos) < raw || int64(s.RawPos)%p.u32(p.opt()+optFileAlign) != 0 {
				return fmt.Errorf("section %s overlaps what precedes it in the file, or is not aligned", s.Name)
			}
			raw = int64(s.RawPos) + int64(s.RawSize)
		}
		if int64(s.VirtualPos) < virtual {
			return fmt.Errorf("section %s overlaps what precedes it in memory", s.Name)
		}
		virtual = int64(s.VirtualPos) + int64(s.VirtualSize)
	}
	return nil
}

// dropSymbols forgets a COFF symbol table at the end of the file: adding
// sections moves it, and an image should have none.
func (p *peImage) dropSymbols() error {
	if p.src.Size() == p.rawEnd() {
		return nil
	}
	if sym := p.u32(p.coff + coffSymbols); sym < p.rawEnd() || sym > roundUp(p.rawEnd(), 512) {
		return fmt.Errorf("has %d bytes of unknown data behind its sections", p.src.Size()-p.rawEnd())
	}
	le := binary.LittleEndian
	le.PutUint32(p.header[p.coff+coffSymbols:], 0)
	le.PutUint32(p.header[p.coff+coffNumSymbols:], 0)
	flags := p.u16(p.coff + coffFlags)
	le.PutUint16(p.header[p.coff+coffFlags:], uint16(flags|flagSymbolsStripped))
	return nil
}

// parseKernel checks that src is a kernel that the stub for m can start.
func parseKernel(src Source, m Machine) (*peImage, error) {
	if src == nil {
		return nil, errors.New("is missing")
	}
	p, err := parsePE(src)
	if errors.Is(err, errNotPE) {
		return nil, explainNotPE(src)
	}
	if err != nil {
		return nil, err
	}
	if p.machine != m {
		return nil, fmt.Errorf("is for %s, the stub for %s: %w", p.machine, m, ErrMachine)
	}
	if p.subsystem() != subsystemApplication {
		return nil, fmt.Errorf("has PE subsystem %d, want EFI application (%d)", p.subsystem(), subsystemApplication)
	}
	return p, nil
}

// explainNotPE says what a kernel without EFI stub is instead.
func explainNotPE(src Source) error {
	head, err := readAt(src, 0, 4)
	switch {
	case err != nil:
		return fmt.Errorf("has only %d bytes: %w", src.Size(), errNotPE)
	case head[0] == 0x1f && head[1] == 0x8b:
		return fmt.Errorf("is compressed with gzip, decompress it first: %w", errNotPE)
	case string(head) == "\x28\xb5\x2f\xfd":
		return fmt.Errorf("is compressed with zstd, decompress it first: %w", errNotPE)
	case string(head) == "\x7fELF":
		return fmt.Errorf("is an ELF file (vmlinux?), want the bootable image: %w", errNotPE)
	}
	return fmt.Errorf("has no EFI stub: %w", errNotPE)
}
