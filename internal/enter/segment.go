package enter

import (
	"io"
	"os"
	"strings"

	"github.com/u-root/mkuimage/cpio"

	"github.com/victorinix/vic/internal/handover"
)

// appendSegment adds an archive of its own to an initrd: the kernel unpacks one
// after the other (Documentation/driver-api/early-userspace/buffer-format.rst).
func appendSegment(initrd *os.File, doc []byte, keys []hostKey) error {
	end, err := initrd.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	// An archive that is not compressed begins at a multiple of 4; zeros before it
	// are skipped.
	if _, err := initrd.Write(make([]byte, -end&3)); err != nil {
		return err
	}
	return writeSegment(initrd, doc, keys)
}

// writeSegment archives what root alone may read.
func writeSegment(w io.Writer, doc []byte, keys []hostKey) error {
	parts := []cpio.Record{
		cpio.Directory(inside(handover.Path[:strings.LastIndex(handover.Path, "/")]), 0o755),
		cpio.StaticFile(inside(handover.Path), string(doc), 0o600),
		cpio.Directory(inside(handover.KeyDir), 0o700),
	}
	for _, k := range keys {
		parts = append(parts, cpio.StaticFile(inside(handover.KeyDir+"/"+k.name), string(k.private), 0o600))
	}
	out := cpio.Newc.Writer(w)
	for i, p := range parts {
		p.Ino, p.NLink = uint64(i+1), 1
		if err := out.WriteRecord(p); err != nil {
			return err
		}
	}
	return cpio.WriteTrailer(out)
}

// inside is a path as archives have it.
func inside(path string) string { return strings.TrimPrefix(path, "/") }
