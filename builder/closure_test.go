package builder

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder/deb"
)

func lockedArchive(t *testing.T, env Env, lock *deb.Lock) func(context.Context, string, string) (*deb.Archive, error) {
	t.Helper()
	return func(ctx context.Context, _, _ string) (*deb.Archive, error) {
		return deb.Open(ctx, deb.Config{Lock: lock, CacheDir: env.Cache, Offline: true})
	}
}

// program is an ELF executable that has what the dynamic loader looks at, and
// no code: an interpreter ("" is none) and libraries.
func program(interp string, libs ...string) []byte {
	const header, entry = 64, 64
	names := "\x00.interp\x00.dynstr\x00.dynamic\x00.shstrtab\x00"
	dynstr, dynamic := "\x00", new(bytes.Buffer)
	for _, lib := range libs {
		binary.Write(dynamic, binary.LittleEndian, []uint64{uint64(elf.DT_NEEDED), uint64(len(dynstr))})
		dynstr += lib + "\x00"
	}
	binary.Write(dynamic, binary.LittleEndian, []uint64{uint64(elf.DT_NULL), 0})
	var body bytes.Buffer
	sections := []elf.Section64{{}}
	add := func(name string, typ elf.SectionType, link uint32, data string) {
		sections = append(sections, elf.Section64{Name: uint32(strings.Index(names, name)), Type: uint32(typ), Link: link,
			Off: header + uint64(body.Len()), Size: uint64(len(data))})
		body.WriteString(data)
	}
	if interp != "" {
		add(".interp", elf.SHT_PROGBITS, 0, interp+"\x00")
	}
	add(".dynstr", elf.SHT_STRTAB, 0, dynstr)
	add(".dynamic", elf.SHT_DYNAMIC, uint32(len(sections)-1), dynamic.String())
	add(".shstrtab", elf.SHT_STRTAB, 0, names)
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: header + uint64(body.Len()),
		Ehsize: header, Shentsize: entry, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1)}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var out bytes.Buffer
	binary.Write(&out, binary.LittleEndian, h)
	out.Write(body.Bytes())
	binary.Write(&out, binary.LittleEndian, sections)
	return out.Bytes()
}

// debTree has files; a name "A -> B" is a symbolic link.
func debTree(t *testing.T, files map[string][]byte) *deb.Tree {
	t.Helper()
	tree := deb.NewTree()
	for name, data := range files {
		e := deb.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o755}, Data: data}
		if from, to, ok := strings.Cut(name, " -> "); ok {
			name, e = from, deb.Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: to}}
		}
		if err := tree.Add(name, e); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

const triplet = "usr/lib/x86_64-linux-gnu/"

func systemTree(t *testing.T, more map[string][]byte) *deb.Tree {
	files := map[string][]byte{
		"usr/sbin/mkfs.ext4 -> mke2fs":                 nil,
		"usr/sbin/mke2fs":                              program("/lib64/ld-linux-x86-64.so.2", "libext2fs.so.2", "libc.so.6"),
		triplet + "libext2fs.so.2 -> libext2fs.so.2.4": nil,
		triplet + "libext2fs.so.2.4":                   program("", "libcom_err.so.2", "libc.so.6"),
		triplet + "libcom_err.so.2":                    program("", "libext2fs.so.2"), // a circle
		triplet + "libc.so.6":                          program("/lib64/ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2"),
		triplet + "ld-linux-x86-64.so.2":               program(""),
		triplet + "libunused.so.1":                     program(""),
		"usr/lib64/ld-linux-x86-64.so.2 -> ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": nil,
		"usr/bin/script":                        []byte("#!/bin/sh\n"),
		"usr/bin/awk -> /etc/alternatives/awk":  nil,
		"etc/alternatives/awk -> /usr/bin/mawk": nil,
		"usr/bin/mawk":                          program("/lib64/ld-linux-x86-64.so.2", "libc.so.6"),
	}
	for name, data := range more {
		files[name] = data
	}
	return debTree(t, files)
}

func TestProgramClosure(t *testing.T) {
	got, err := programClosure(systemTree(t, nil), "amd64", []string{"mkfs.ext4", "script", "awk", "mkfs.ext4"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `etc/alternatives/awk
usr/bin/awk
usr/bin/mawk
usr/bin/script
usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
usr/lib/x86_64-linux-gnu/libc.so.6
usr/lib/x86_64-linux-gnu/libcom_err.so.2
usr/lib/x86_64-linux-gnu/libext2fs.so.2
usr/lib/x86_64-linux-gnu/libext2fs.so.2.4
usr/lib64/ld-linux-x86-64.so.2
usr/sbin/mke2fs
usr/sbin/mkfs.ext4`
	if strings.Join(got, "\n") != want {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

// Everything that is missing is named, with what wants it.
func TestProgramClosureNamesWhatIsMissing(t *testing.T) {
	tree := systemTree(t, map[string][]byte{
		"usr/bin/lost":             program("/lib64/ld-linux-x86-64.so.2", "libgone.so.1", "libc.so.6"),
		"usr/bin/foreign":          program("/lib/ld-linux-aarch64.so.1"),
		"usr/bin/loop -> loop":     nil,
		"usr/bin/hangs -> nowhere": nil,
		"usr/bin/cut":              program("", "libc.so.6")[:100],
	})
	_, err := programClosure(tree, "amd64", []string{"mkfs.xfs", "lost", "foreign", "hangs", "cut", "mke2fs", "loop"}, []string{"libmissing.so.3"})
	wantError(t, err,
		"program mkfs.xfs is in none of the packages",
		"library libgone.so.1 of usr/bin/lost is in none of the packages",
		"dynamic loader of usr/bin/foreign: usr/lib/ld-linux-aarch64.so.1 is in none of the packages",
		"program hangs: usr/bin/nowhere is in none of the packages",
		"usr/bin/cut: ",
		"library libmissing.so.3 is in none of the packages",
	)
	if strings.Contains(err.Error(), "libc.so.6") {
		t.Errorf("what is there is called missing: %v", err)
	}
}
