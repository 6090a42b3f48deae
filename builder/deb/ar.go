package deb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A .deb (deb(5)) is an ar archive of three members, in this order:
//
//	debian-binary      "2.0\n"
//	control.tar{,.gz,.xz,.zst}
//	data.tar{,.gz,.xz,.zst,.bz2}
//
// Members between or after them whose name starts with '_' are skipped.
type debMembers struct {
	control, data *io.SectionReader
}

const arMagic = "!<arch>\n"

// readMembers finds the members of a .deb of size bytes.
func readMembers(r io.ReaderAt, size int64) (debMembers, error) {
	var m debMembers
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return m, errors.New("it is not an ar archive")
	}
	first := true
	for at := int64(len(arMagic)); at < size; {
		name, body, err := readMember(r, at, size)
		if err != nil {
			return m, err
		}
		switch {
		case first:
			if err := checkFormat(name, body); err != nil {
				return m, err
			}
		case strings.HasPrefix(name, "control.tar") && m.control == nil:
			m.control = body
		case strings.HasPrefix(name, "data.tar") && m.control != nil && m.data == nil:
			m.data = body
		case strings.HasPrefix(name, "_"):
		default:
			return m, fmt.Errorf("unexpected member %q", name)
		}
		first = false
		at += 60 + body.Size() + body.Size()&1
	}
	if m.control == nil || m.data == nil {
		return m, errors.New("it has no control or data member")
	}
	return m, nil
}

func checkFormat(name string, body *io.SectionReader) error {
	version := make([]byte, min(body.Size(), 8))
	if _, err := body.ReadAt(version, 0); err != nil && err != io.EOF {
		return err
	}
	if name != "debian-binary" || !bytes.HasPrefix(version, []byte("2.")) {
		return fmt.Errorf("the first member is %q with %q, not debian-binary of version 2", name, version)
	}
	return nil
}

// readMember reads the 60-byte header at an offset:
//
//	name 16, mtime 12, uid 6, gid 6, mode 8, size 10 (decimal), "`\n"
func readMember(r io.ReaderAt, at, end int64) (string, *io.SectionReader, error) {
	var h [60]byte
	if _, err := r.ReadAt(h[:], at); err != nil {
		return "", nil, fmt.Errorf("read ar header at %d: %w", at, err)
	}
	if string(h[58:]) != "`\n" {
		return "", nil, fmt.Errorf("ar header at %d is damaged", at)
	}
	name := strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
	size, err := strconv.ParseUint(strings.TrimRight(string(h[48:58]), " "), 10, 63)
	if err != nil {
		return "", nil, fmt.Errorf("size of ar member %q: %w", name, err)
	}
	if int64(size) > end-at-60 {
		return "", nil, fmt.Errorf("ar member %q claims %d bytes, the file has %d", name, size, end-at-60)
	}
	return name, io.NewSectionReader(r, at+60, int64(size)), nil
}
