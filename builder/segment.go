package builder

import (
	"fmt"
	"io"
	"os"

	"github.com/victorinix/vic/initramfs"
)

// Segments writes what follows the initramfs of the bundle in RAM: the system
// image. It is appended to the initramfs, for the kernel to unpack.
func (b *Bundle) Segments(w io.Writer) error {
	f, err := os.Open(b.Path(SystemFile))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	file := initramfs.File{Path: SystemFile, Mode: 0o644, Data: f, Size: st.Size()}
	// A constant time: the segment is made anew wherever it is needed.
	if err := initramfs.WriteSegment(w, []initramfs.File{file}, DefaultTime); err != nil {
		return fmt.Errorf("append system image: %w", err)
	}
	return nil
}

// Initrd writes the whole initrd: initramfs and system image.
func (b *Bundle) Initrd(w io.Writer) error {
	f, err := os.Open(b.Path(InitramfsFile))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	return b.Segments(w)
}

// RequestSegment is a segment with a request and, when there are any, secrets,
// readable by root alone in RAM.
func RequestSegment(w io.Writer, request, secrets []byte) error {
	files := []initramfs.File{
		initramfs.Directory("vic", 0o755),
		initramfs.Regular("vic/request.json", 0o600, request),
	}
	if secrets != nil {
		files = append(files, initramfs.Regular("vic/secrets.json", 0o600, secrets))
	}
	if err := initramfs.WriteSegment(w, files, DefaultTime); err != nil {
		return fmt.Errorf("write request segment: %w", err)
	}
	return nil
}
