package efi

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// testPE is a small PE32+ image made for a test.
type testPE struct {
	machine   Machine
	subsystem uint16
	dllFlags  uint16
	sectAlign uint32
	headers   uint32 // size of the headers
	signed    bool
	sections  []testSection
	tail      []byte // behind the last section
	symbols   uint32
}

type testSection struct {
	name string
	data string
}

func stub(m Machine) testPE {
	return testPE{machine: m, subsystem: subsystemApplication, dllFlags: dllNXCompat, sectAlign: 4096, headers: 1024,
		sections: []testSection{{".text", "code"}, {".sbat", "sbat,1,"}, {".sdmagic", "#### LoaderInfo: systemd-stub ####"}}}
}

func kernel(m Machine) testPE {
	return testPE{machine: m, subsystem: subsystemApplication, dllFlags: dllNXCompat, sectAlign: 4096, headers: 512,
		sections: []testSection{{".text", "kernel"}}}
}

const testPEHeader = 0x80

func (p testPE) bytes() []byte {
	b := make([]byte, p.headers)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[dosPEPointer:], testPEHeader)
	copy(b[testPEHeader:], "PE\x00\x00")
	coff := b[testPEHeader+4:]
	le.PutUint16(coff, uint16(p.machine))
	le.PutUint16(coff[coffSections:], uint16(len(p.sections)))
	le.PutUint32(coff[coffTime:], 0x5eadbeef)
	le.PutUint32(coff[coffSymbols:], p.symbols)
	le.PutUint16(coff[coffOptSize:], 240)
	opt := coff[coffSize:]
	le.PutUint16(coff[coffFlags:], 0x0002) // executable
	le.PutUint16(opt, magicPE32Plus)
	le.PutUint32(opt[16:], 4096) // entry point
	le.PutUint16(opt[44:], 1)    // image version: a kernel that stubs start with LoadImage
	le.PutUint32(opt[optSectAlign:], p.sectAlign)
	le.PutUint32(opt[optFileAlign:], 512)
	le.PutUint32(opt[optHeaderSize:], p.headers)
	le.PutUint16(opt[optSubsystem:], p.subsystem)
	le.PutUint16(opt[optDLLFlags:], p.dllFlags)
	le.PutUint32(opt[optDirCount:], 16)
	if p.signed {
		le.PutUint32(opt[optDirs+8*dirSecurity:], 1234)
	}
	virtual := uint32(4096)
	for i, s := range p.sections {
		h := sectionHeader{Name: s.name, VirtualSize: uint32(len(s.data)), VirtualPos: virtual,
			RawSize: uint32(roundUp(int64(len(s.data)), 512)), RawPos: uint32(len(b)), Flags: sectionRead | sectionCode | 0x20000000}
		h.put(opt[240+i*sectionHeaderSize:])
		b = append(b, s.data...)
		b = append(b, make([]byte, int(h.RawPos+h.RawSize)-len(b))...)
		opt = b[testPEHeader+4+coffSize:]
		virtual = uint32(roundUp(int64(virtual)+int64(len(s.data)), int64(p.sectAlign)))
	}
	le.PutUint32(b[testPEHeader+4+coffSize+optImageSize:], virtual)
	return append(b, p.tail...)
}

func (p testPE) source() Source { return bytes.NewReader(p.bytes()) }

func TestChecksumDoesNotDependOnChunks(t *testing.T) {
	data := make([]byte, 1021)
	for i := range data {
		data[i] = byte(i * 7)
	}
	var whole checksum
	whole.Write(data)
	for _, chunk := range []int{1, 2, 3, 5, 512} {
		var c checksum
		for rest := data; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
			c.Write(rest[:min(chunk, len(rest))])
		}
		if c.value() != whole.value() {
			t.Errorf("chunks of %d: %#x, whole %#x", chunk, c.value(), whole.value())
		}
	}
}
