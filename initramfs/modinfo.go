package initramfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// Info is what a module says of itself in its .modinfo section, which is a
// sequence of key=value strings (include/linux/module.h, MODULE_INFO).
type Info struct {
	// Name is the module's name, with underscores.
	Name string
	// Depends are the names of the modules whose symbols it uses.
	Depends []string
	// Pre and Post are its soft dependencies: names or aliases.
	Pre, Post []string
	// Weak are modules that it may load itself later.
	Weak []string
	// Aliases are the patterns (modalias and others) it is loaded for.
	Aliases []string
	// Firmware are files it may ask for, relative to the firmware folder.
	Firmware []string
}

// maxModule bounds what a compressed module may unpack to; the largest of
// Debian's (amdgpu) has about 30 MB.
const maxModule = 256 << 20

// ModuleInfo reads .modinfo of a module: the bytes of a .ko, .ko.xz, .ko.zst
// or .ko.gz file (told apart by their magic).
func ModuleInfo(b []byte) (Info, error) {
	raw, err := unpackModule(b)
	if err != nil {
		return Info{}, fmt.Errorf("decompress module: %w", err)
	}
	section, err := modinfoSection(raw)
	if err != nil {
		return Info{}, fmt.Errorf("read module: %w", err)
	}
	return parseModinfo(section), nil
}

func unpackModule(b []byte) ([]byte, error) {
	var (
		r   io.Reader
		err error
	)
	switch {
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		r, err = xz.NewReader(bytes.NewReader(b), 64<<20)
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		var dec *zstd.Decoder
		dec, err = zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModule))
		if err == nil {
			defer dec.Close()
			r = dec
		}
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		r, err = gzip.NewReader(bytes.NewReader(b))
	default:
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(raw) > maxModule {
		err = fmt.Errorf("more than %d bytes", maxModule)
	}
	return raw, err
}

func modinfoSection(raw []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo section")
	}
	return s.Data()
}

// parseModinfo reads the strings of a .modinfo section. Keys that vic has no
// use for are skipped.
func parseModinfo(section []byte) Info {
	var m Info
	for _, s := range strings.Split(string(section), "\x00") {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			continue
		}
		switch key {
		case "name":
			m.Name = normalName(value)
		case "depends":
			for _, dep := range strings.Split(value, ",") {
				if dep != "" {
					m.Depends = append(m.Depends, normalName(dep))
				}
			}
		case "softdep":
			pre, post := parseSoftdep(strings.Fields(value))
			m.Pre, m.Post = append(m.Pre, pre...), append(m.Post, post...)
		case "weakdep":
			m.Weak = append(m.Weak, strings.Fields(value)...)
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "firmware":
			m.Firmware = append(m.Firmware, value)
		}
	}
	return m
}

// parseSoftdep reads "pre: a b post: c". Words before the first label belong
// to neither, as for modprobe (modprobe.d(5)).
func parseSoftdep(words []string) (pre, post []string) {
	var to *[]string
	for _, w := range words {
		switch {
		case w == "pre:":
			to = &pre
		case w == "post:":
			to = &post
		case to != nil:
			*to = append(*to, w)
		}
	}
	return pre, post
}

// normalName is a module's name as the kernel writes it: file names have
// dashes where the kernel has underscores.
func normalName(name string) string { return strings.ReplaceAll(name, "-", "_") }
