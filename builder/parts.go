package builder

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/initramfs"
)

// systemEntry turns a file of the initramfs package into one of the system
// image: modules, their index, firmware.
func systemEntry(f initramfs.File) (deb.Entry, error) {
	e := deb.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Mode: int64(f.Mode.Perm())}, Origin: fileOrigin(f.Origin, f.Path)}
	switch f.Mode.Type() {
	case 0:
		e.Data = make([]byte, f.Size)
		if _, err := io.ReadFull(io.NewSectionReader(f.Data, 0, f.Size), e.Data); err != nil {
			return e, fmt.Errorf("read %s: %w", f.Path, err)
		}
	case fs.ModeDir:
		e.Header.Typeflag = tar.TypeDir
	case fs.ModeSymlink:
		e.Header.Typeflag, e.Header.Linkname = tar.TypeSymlink, f.Link
	default:
		return e, fmt.Errorf("%s: a %v cannot be in the system image", f.Path, f.Mode.Type())
	}
	return e, nil
}

// originConfig is the origin of configuration files that no package has.
const originConfig = "configuration"

// fileOrigin names the origin of an initramfs file for `vic size`.
func fileOrigin(origin, name string) string {
	base := path.Base(name)
	switch origin {
	case initramfs.OriginModule:
		module, _, _ := strings.Cut(base, ".ko")
		return "module:" + module
	case initramfs.OriginFirmware:
		return "firmware:" + strings.TrimPrefix(name, "usr/lib/firmware/")
	case initramfs.OriginCommand:
		return "command:" + base
	case initramfs.OriginIndex:
		return "vic:module index"
	case initramfs.OriginInit:
		return "vic:vic-init and its commands"
	}
	return "vic:" + origin
}

// weigher measures what content costs after compression, each piece by itself.
type weigher struct{ enc *zstd.Encoder }

func newWeigher() (weigher, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	return weigher{enc}, err
}

func (w weigher) part(origin string, data []byte) Part {
	return Part{Origin: origin, Size: int64(len(w.enc.EncodeAll(data, nil))), Raw: int64(len(data)), Files: 1}
}

// copy copies a stream and weighs it.
func (w weigher) copy(to io.Writer, from io.Reader) (int64, error) {
	var n counter
	w.enc.Reset(&n)
	size, err := io.Copy(io.MultiWriter(to, w.enc), from)
	if err != nil || size == 0 {
		return 0, err
	}
	err = w.enc.Close()
	return int64(n), err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// treeWeights weighs every file of a tree. Origins that are one of the packages
// get its version.
func treeWeights(t *deb.Tree, packages []deb.Package) ([]Part, error) {
	versions := map[string]string{}
	for _, p := range packages {
		versions[p.Name] = p.Version
	}
	w, err := newWeigher()
	if err != nil {
		return nil, err
	}
	defer w.enc.Close()
	var parts []Part
	err = t.Walk(func(name string, e *deb.Entry) error {
		if e.Header.Typeflag != tar.TypeReg {
			return nil
		}
		origin := e.Origin
		if v := versions[origin]; v != "" {
			origin = "package:" + origin + "=" + v
		}
		parts = append(parts, w.part(origin, e.Data))
		return nil
	})
	return parts, err
}

// initramfsWeights weighs the entries of an archive; together they are as heavy
// as it is.
func initramfsWeights(c initramfs.Contents) ([]Part, error) {
	w, err := newWeigher()
	if err != nil {
		return nil, err
	}
	defer w.enc.Close()
	var parts []Part
	for _, e := range c.Entries {
		p := Part{Origin: fileOrigin(e.Origin, e.Path), Size: 1, Raw: e.Size, Files: 1}
		if e.Size > 0 {
			b := make([]byte, e.Size)
			if _, err := io.ReadFull(io.NewSectionReader(e.Data, 0, e.Size), b); err != nil {
				return nil, fmt.Errorf("weigh %s: %w", e.Path, err)
			}
			p = w.part(p.Origin, b)
		}
		parts = append(parts, p)
	}
	return scale(parts, c.Compressed), nil
}
