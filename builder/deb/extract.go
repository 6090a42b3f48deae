package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// Bounds on what one .deb may unpack to. The largest packages of Debian unpack
// to a few GB; these are far above what belongs into a system image.
const (
	maxUnpacked    = 8 << 30
	unpackedSlack  = 16 << 20 // what Installed-Size may be off by
	maxEntries     = 1 << 20
	maxControl     = 16 << 20
	maxPath        = 4095 // PATH_MAX without the NUL
	maxPathElement = 255  // NAME_MAX
)

// ErrHostile is wrapped by errors for a .deb that tries to reach outside its
// tree, or to be more than it says.
var ErrHostile = errors.New("refused")

// Extract walks the files of a .deb of size bytes. Each header that reaches
// sink has a clean relative name ("usr/bin/env"; the root directory is left
// out) and, for hard links, a clean Linkname of a file seen before. Symbolic
// links keep their target as it is, owners are numbers and names as recorded.
//
// It refuses (ErrHostile) absolute names, "..", names given twice, hard links
// to anything but an earlier file, entries below a symbolic link, and more
// bytes than the package's Installed-Size accounts for.
func Extract(r io.ReaderAt, size int64, sink func(h *tar.Header, r io.Reader) error) error {
	m, err := readMembers(r, size)
	if err != nil {
		return err
	}
	control, err := readControl(m.control)
	if err != nil {
		return fmt.Errorf("control member: %w", err)
	}
	limit, err := unpackedLimit(control)
	if err != nil {
		return err
	}
	data, err := unpacker(m.data)
	if err != nil {
		return fmt.Errorf("data member: %w", err)
	}
	defer data.Close()
	x := extractor{kinds: map[string]byte{}, sink: sink, left: limit, limit: limit}
	// The tar's own headers count too: a file of endless headers is a bomb. A
	// file of 1 KiB with a long name takes 4 KiB.
	bounded := &boundedReader{r: data, left: 4 * limit}
	return x.all(tar.NewReader(bounded))
}

// readControl returns the package's control file.
func readControl(r io.Reader) (stanza, error) {
	plain, err := unpacker(r)
	if err != nil {
		return "", err
	}
	defer plain.Close()
	tr := tar.NewReader(&boundedReader{r: plain, left: maxControl})
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return "", errors.New("it has no control file")
		}
		if err != nil {
			return "", err
		}
		if path.Clean("/"+h.Name) != "/control" || h.Typeflag != tar.TypeReg {
			continue
		}
		if err := checkSparse(h); err != nil {
			return "", err
		}
		if h.Size > maxControl {
			return "", fmt.Errorf("%w: control file of %d bytes", ErrHostile, h.Size)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			return "", err
		}
		return oneStanza(text)
	}
}

// checkSparse refuses sparse files, which unpack to any size from nothing, and
// which dpkg does not read either.
func checkSparse(h *tar.Header) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("%w: sparse file", ErrHostile)
		}
	}
	return nil
}

// unpackedLimit derives how many bytes the files may have. Installed-Size is in
// KiB and counts each file rounded up (deb-substvars(5)).
func unpackedLimit(control stanza) (int64, error) {
	field := control.get("Installed-Size")
	if field == "" {
		return maxUnpacked, nil
	}
	kib, err := strconv.ParseUint(field, 10, 40)
	if err != nil {
		return 0, fmt.Errorf("parse Installed-Size: %w", err)
	}
	limit := int64(kib)<<10 + unpackedSlack
	if limit > maxUnpacked {
		return 0, fmt.Errorf("%w: Installed-Size of %d KiB is too large", ErrHostile, kib)
	}
	return limit, nil
}

// boundedReader fails, rather than ends, when there is more.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: it unpacks to more than its Installed-Size allows", ErrHostile)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

type extractor struct {
	kinds       map[string]byte // type of each name seen
	sink        func(*tar.Header, io.Reader) error
	left, limit int64
}

func (x *extractor) all(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read data.tar: %w", err)
		}
		if err := x.one(h, tr); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
}

func (x *extractor) one(h *tar.Header, r io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if err := x.check(name, h); err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	x.kinds[name] = h.Typeflag
	h.Name = name
	return x.sink(h, r)
}

// check refuses what no package has a use for.
func (x *extractor) check(name string, h *tar.Header) error {
	if name == "." && h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%w: the root is not a directory", ErrHostile)
	}
	if old, ok := x.kinds[name]; ok && !(old == tar.TypeDir && h.Typeflag == tar.TypeDir) {
		return fmt.Errorf("%w: it is there twice", ErrHostile)
	}
	if len(x.kinds) >= maxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrHostile, maxEntries)
	}
	if h.Size < 0 || h.Size > x.left {
		return fmt.Errorf("%w: the files have more than %d bytes, more than Installed-Size allows", ErrHostile, x.limit)
	}
	x.left -= h.Size
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if kind, ok := x.kinds[dir]; ok && kind != tar.TypeDir {
			return fmt.Errorf("%w: %s above it is not a directory", ErrHostile, dir)
		}
	}
	return x.checkType(h)
}

func (x *extractor) checkType(h *tar.Header) error {
	if err := checkSparse(h); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return nil
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
			return fmt.Errorf("%w: bad symbolic link target %.80q", ErrHostile, h.Linkname)
		}
		return nil
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
		}
		if kind, ok := x.kinds[target]; !ok || kind == tar.TypeDir {
			return fmt.Errorf("%w: hard link to %q, which is no file of this package", ErrHostile, h.Linkname)
		}
		h.Linkname = target
		return nil
	}
	return fmt.Errorf("%w: tar entry of type %q", ErrHostile, h.Typeflag)
}

// cleanName makes "./usr/bin/" to "usr/bin". The root is ".".
func cleanName(name string) (string, error) {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return "", fmt.Errorf("%w: empty name or NUL in it", ErrHostile)
	case strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("%w: absolute name", ErrHostile)
	case len(name) > maxPath:
		return "", fmt.Errorf("%w: name of %d bytes", ErrHostile, len(name))
	}
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: \"..\" in the name", ErrHostile)
		}
		if len(part) > maxPathElement {
			return "", fmt.Errorf("%w: path element of %d bytes", ErrHostile, len(part))
		}
	}
	return path.Clean(name), nil
}
