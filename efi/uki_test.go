package efi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func sampleUKI() UKI {
	return UKI{
		Stub: stub(AMD64).source(), Kernel: kernel(AMD64).source(),
		Initrd:  []Source{strings.NewReader("first"), strings.NewReader("second")},
		Cmdline: "console=ttyS0 vic.mode=install", OSRelease: "ID=vic\nNAME=vic\n", Uname: "6.12.0-amd64",
	}
}

func mustWrite(t testing.TB, u UKI) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteUKI(&b, u); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadUKIFindsWhatWriteUKIWrote(t *testing.T) {
	for _, m := range []Machine{AMD64, ARM64} {
		u := sampleUKI()
		u.Stub, u.Kernel = stub(m).source(), kernel(m).source()
		img, err := ReadUKI(bytes.NewReader(mustWrite(t, u)))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		var end uint32
		for _, s := range img.Sections {
			b, err := io.ReadAll(s.Data)
			if err != nil {
				t.Fatal(err)
			}
			if s.VirtualAddress < end || s.VirtualAddress%4096 != 0 || s.Offset%512 != 0 {
				t.Errorf("section %s at %#x, file offset %#x, overlaps or is not aligned", s.Name, s.VirtualAddress, s.Offset)
			}
			end = s.VirtualAddress + s.VirtualSize
			got[s.Name] = string(b)
		}
		want := map[string]string{
			".text": "code", ".sbat": "sbat,1,", ".sdmagic": "#### LoaderInfo: systemd-stub ####",
			".osrel": "ID=vic\nNAME=vic\n", ".cmdline": u.Cmdline, ".uname": u.Uname,
			".linux": string(kernel(m).bytes()), ".initrd": "first\x00\x00\x00second",
		}
		if d := cmp.Diff(want, got); d != "" || img.Machine != m {
			t.Errorf("%s: %s", img.Machine, d)
		}
	}
}

func TestHeadersOfUKI(t *testing.T) {
	u := sampleUKI()
	k := kernel(AMD64)
	k.dllFlags = 0
	u.Kernel = k.source()
	b := mustWrite(t, u)
	p, err := parsePE(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if p.u32(p.coff+coffTime) != 0 {
		t.Error("time stamp is not zero")
	}
	if got, want := p.u32(p.opt()+optImageSize), roundUp(p.virtualEnd(), 4096); got != want {
		t.Errorf("SizeOfImage is %#x, want %#x", got, want)
	}
	if p.nxCompatible() {
		t.Error("UKI claims NX_COMPAT, its kernel does not")
	}
	if int64(len(b)) != p.rawEnd() || len(b)%512 != 0 {
		t.Errorf("file has %d bytes, its sections end at %d", len(b), p.rawEnd())
	}
	var sum checksum
	at := p.opt() + optChecksum
	sum.Write(b[:at])
	sum.Write(make([]byte, 4))
	sum.Write(b[at+4:])
	if got := binary.LittleEndian.Uint32(b[at:]); got != sum.value() || got == 0 {
		t.Errorf("CheckSum is %#x, want %#x", got, sum.value())
	}
}

func TestWriteUKIIsReproducible(t *testing.T) {
	if !bytes.Equal(mustWrite(t, sampleUKI()), mustWrite(t, sampleUKI())) {
		t.Error("two builds differ")
	}
}

func TestWriteUKIRefuses(t *testing.T) {
	change := func(f func(*testPE)) Source {
		p := stub(AMD64)
		f(&p)
		return p.source()
	}
	for want, f := range map[string]func(*UKI){
		"stub: is missing":                              func(u *UKI) { u.Stub = nil },
		"kernel: is missing":                            func(u *UKI) { u.Kernel = nil },
		"stub: not a PE image":                          func(u *UKI) { u.Stub = strings.NewReader("MZ") },
		"kernel: is for arm64, the stub for amd64":      func(u *UKI) { u.Kernel = kernel(ARM64).source() },
		"stub: is for machine 0x014c":                   func(u *UKI) { u.Stub = stub(0x14c).source() },
		"stub: image is signed":                         func(u *UKI) { u.Stub = change(func(p *testPE) { p.signed = true }) },
		"stub: has PE subsystem 3":                      func(u *UKI) { u.Stub = change(func(p *testPE) { p.subsystem = 3 }) },
		"is not systemd's stub":                         func(u *UKI) { u.Stub = kernel(AMD64).source() },
		"no room for it in its headers of 512 bytes":    func(u *UKI) { u.Stub = change(func(p *testPE) { p.headers = 512 }) },
		"has 7 bytes of unknown data":                   func(u *UKI) { u.Stub = change(func(p *testPE) { p.tail = []byte("payload") }) },
		"has alignment 1000":                            func(u *UKI) { u.Stub = change(func(p *testPE) { p.sectAlign = 1000 }) },
		"section .linux: stub has a section of this":    func(u *UKI) { u.Stub = change(func(p *testPE) { p.sections[0].name = ".linux" }) },
		"kernel: is compressed with gzip":               func(u *UKI) { u.Kernel = strings.NewReader("\x1f\x8b\x08\x00") },
		"kernel: is an ELF file":                        func(u *UKI) { u.Kernel = strings.NewReader("\x7fELF") },
		"kernel: has no EFI stub":                       func(u *UKI) { u.Kernel = strings.NewReader("\xfa\xfc\x00\x00") },
		"kernel: has only 0 bytes":                      func(u *UKI) { u.Kernel = strings.NewReader("") },
		"section .cmdline: text has more than one line": func(u *UKI) { u.Cmdline = "a\nb" },
		"section .uname: text is not UTF-8 without NUL": func(u *UKI) { u.Uname = "6.12\x00" },
		"section .initrd: source is empty":              func(u *UKI) { u.Initrd = []Source{strings.NewReader("")} },
		"make the image larger than 4 GiB":              func(u *UKI) { u.Initrd = []Source{io.NewSectionReader(u.Stub, 0, 5<<30)} },
		".initrd: source ends after 5 of 9 bytes":       func(u *UKI) { u.Initrd = []Source{short{strings.NewReader("short")}} },
	} {
		u := sampleUKI()
		f(&u)
		if err := WriteUKI(io.Discard, u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	u := sampleUKI()
	u.Kernel = kernel(ARM64).source()
	if err := WriteUKI(io.Discard, u); !errors.Is(err, ErrMachine) {
		t.Errorf("got %v, want ErrMachine", err)
	}
}

// short claims more than it has.
type short struct{ *strings.Reader }

func (short) Size() int64 { return 9 }

func TestOverlappingSectionsAreRefused(t *testing.T) {
	b := stub(AMD64).bytes()
	table := testPEHeader + 4 + coffSize + 240
	second := parseSectionHeader(b[table+sectionHeaderSize:])
	for name, f := range map[string]func(*sectionHeader){
		"in the file": func(s *sectionHeader) { s.RawPos = 1024 },
		"in memory":   func(s *sectionHeader) { s.VirtualPos = 4096 },
	} {
		s := second
		f(&s)
		c := bytes.Clone(b)
		s.put(c[table+sectionHeaderSize:])
		u := sampleUKI()
		u.Stub = bytes.NewReader(c)
		if err := WriteUKI(io.Discard, u); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func TestSymbolsOfStubAreDropped(t *testing.T) {
	s := stub(AMD64)
	s.symbols = uint32(len(s.bytes()))
	s.tail = []byte("symbols")
	u := sampleUKI()
	u.Stub = s.source()
	b := mustWrite(t, u)
	p, err := parsePE(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if p.u32(p.coff+coffSymbols) != 0 || p.u16(p.coff+coffFlags)&flagSymbolsStripped == 0 || bytes.Contains(b, s.tail) {
		t.Error("symbol table is still there")
	}
}

// hostStubs are where Debian's systemd-boot-efi puts them.
const hostStubs = "/usr/lib/systemd/boot/efi/linux*.efi.stub"

func TestObjdumpReadsUKI(t *testing.T) {
	run := tooltest.Need(t, "objdump")
	stubs, err := filepath.Glob(hostStubs)
	if err != nil {
		t.Fatal(err)
	}
	if len(stubs) == 0 {
		tooltest.Missing(t, "systemd-boot-efi is not installed")
	}
	for _, name := range stubs {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePE(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if p.machine != AMD64 && p.machine != ARM64 {
			continue // linuxia32
		}
		u := sampleUKI()
		u.Stub, u.Kernel = bytes.NewReader(b), kernel(p.machine).source()
		file := filepath.Join(t.TempDir(), "uki.efi")
		if err := os.WriteFile(file, mustWrite(t, u), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := run.Run(t.Context(), tool.Cmd{Name: "objdump", Args: []string{"-h", "-w", file}})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`\.sbat `, `\.sdmagic `, `\.osrel +0+10 `, `\.cmdline +0+1e `, `\.uname +0+c `, `\.linux +0+400 `, `\.initrd +0+e `} {
			if !regexp.MustCompile(want).Match(out.Stdout) {
				t.Errorf("%s: objdump does not show %q:\n%s", name, want, out.Stdout)
			}
		}
	}
}

// The stub of Debian 12 was made by binutils, which sets CheckSum.
func TestChecksumAgreesWithBinutils(t *testing.T) {
	b, err := os.ReadFile("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
	if err != nil {
		tooltest.Missing(t, "systemd-boot-efi is not installed")
	}
	p, err := parsePE(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	at := p.opt() + optChecksum
	want := binary.LittleEndian.Uint32(b[at:])
	if want == 0 {
		t.Skip("this stub has no checksum (systemd 253 and later)")
	}
	var sum checksum
	clear(b[at : at+4])
	sum.Write(b)
	if sum.value() != want {
		t.Errorf("got %#x, want %#x", sum.value(), want)
	}
}

func FuzzReadUKI(f *testing.F) {
	f.Add(mustWrite(f, sampleUKI()))
	f.Add(stub(ARM64).bytes())
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := ReadUKI(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, s := range img.Sections {
			if _, err := io.ReadAll(s.Data); err != nil {
				t.Errorf("section %q cannot be read: %v", s.Name, err)
			}
		}
	})
}

func FuzzStub(f *testing.F) {
	f.Add(stub(AMD64).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		u := sampleUKI()
		u.Stub = bytes.NewReader(b)
		var out bytes.Buffer
		if WriteUKI(&out, u) != nil {
			return
		}
		if _, err := ReadUKI(bytes.NewReader(out.Bytes())); err != nil {
			t.Errorf("wrote an image that cannot be read: %v", err)
		}
	})
}
