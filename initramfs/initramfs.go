// Package initramfs assembles the archive that the kernel unpacks into RAM:
// the busybox with vic-init, kernel modules chosen by set, the firmware they
// ask for, and further segments after it.
//
//	zstd( newc archive: /init /bbin /dev )                                      Write
//	zstd( newc archive: /usr/lib/modules /usr/lib/firmware )                    Write, or in one with the first
//	newc archive: the system erofs                                             WriteSegment
//	newc archive: the request, secrets                                         WriteSegment
//
// The format is Documentation/driver-api/early-userspace/buffer-format.rst.
// The same Config gives the same bytes. The package does not find kernels or
// firmware (builder does) and does not load modules (the agent does).
package initramfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Config is what goes into an initramfs.
type Config struct {
	// Init is the ELF of the busybox, written as /bbin/bb; its command
	// vic-init is /init. Nil leaves both out.
	Init []byte
	// Commands are the commands of the busybox, each a link in /bbin.
	Commands []string
	// Modules is the kernel's module tree: its root is what is
	// usr/lib/modules/<release> elsewhere. Nil means no modules.
	Modules fs.FS
	// Release is the kernel's release (uname -r).
	Release string
	// Sets are the module sets (see Sets) or single modules to put in.
	Sets []string
	// Elsewhere are sets whose modules another archive has, unpacked, below the
	// same path: ModuleFiles has them in its index alone.
	Elsewhere []string
	// Firmware is a tree whose root is usr/lib/firmware elsewhere. Only what
	// the chosen modules ask for is taken. Nil means no firmware.
	Firmware fs.FS
	// Files are put in as they are.
	Files []File
	// Time is the modification time of every entry.
	Time time.Time
	// Continues leaves out the mount points and device nodes: another archive
	// that comes before this one has them.
	Continues bool
	// Compress makes one zstd frame of the archive; nil: in Go, quickly. Its
	// window must not be larger than 8 MiB, which the kernel allocates.
	Compress func(archive []byte) ([]byte, error)
}

// Origins of entries.
const (
	OriginInit     = "init"     // the busybox and the way to it
	OriginCommand  = "command"  // a link to the busybox
	OriginModule   = "module"   // a kernel module
	OriginIndex    = "index"    // modules.dep and its like
	OriginFirmware = "firmware" // a file that a module asks for
	OriginFile     = "file"     // given by the caller
	OriginSkeleton = "skeleton" // mount points, device nodes, parents
)

// Entry is one entry of a written archive.
type Entry struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Origin string `json:"origin"`
	// SHA256 is of a regular file's content; empty for all others.
	SHA256 string `json:"sha256,omitempty"`
	// Link is the target of a symbolic link.
	Link string `json:"link,omitempty"`
	// Data is a regular file's content.
	Data io.ReaderAt `json:"-"`
}

// Contents lists what an archive holds, sorted by path.
type Contents struct {
	Entries []Entry `json:"entries"`
	// Size is the length of the archive before compression, about what it
	// takes in RAM; Compressed is what was written.
	Size       int64 `json:"size"`
	Compressed int64 `json:"compressed"`
	// MissingFirmware are files that chosen modules ask for and Firmware
	// does not have. Many are alternatives of each other, so this is no error.
	MissingFirmware []string `json:"missingFirmware,omitempty"`
}

// Write writes the initramfs of c, compressed with zstd, its length a
// multiple of 512 so that a WriteSegment, or another Write, may follow.
func Write(w io.Writer, c Config) (Contents, error) {
	var contents Contents
	if c.Init != nil && !slices.Contains(c.Commands, initCommand) {
		return contents, fmt.Errorf("write initramfs: the busybox has no command %s to be /init", initCommand)
	}
	files := c.busybox()
	if !c.Continues {
		files = append(skeleton(), files...)
	}
	modules, missing, err := ModuleFiles(c)
	if err != nil {
		return contents, err
	}
	if modules, err = unpacked(modules); err != nil {
		return contents, err
	}
	contents.MissingFirmware = missing
	files = append(files, modules...)
	for _, f := range c.Files {
		if f.Origin == "" {
			f.Origin = OriginFile
		}
		files = append(files, f)
	}
	var archive bytes.Buffer
	written, err := writeArchive(&archive, files, c.Time)
	if err != nil {
		return contents, err
	}
	compress := c.Compress
	if compress == nil {
		compress = compressInGo
	}
	packed, err := compress(archive.Bytes())
	if err != nil {
		return contents, fmt.Errorf("compress initramfs: %w", err)
	}
	out := &counter{w: w}
	if _, err := out.Write(packed); err != nil {
		return contents, fmt.Errorf("write initramfs: %w", err)
	}
	if err := out.align(); err != nil {
		return contents, fmt.Errorf("pad initramfs: %w", err)
	}
	contents.Size, contents.Compressed = int64(archive.Len()), out.n
	contents.Entries, err = describe(written)
	return contents, err
}

func compressInGo(archive []byte) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	return enc.EncodeAll(archive, nil), nil
}

// window is how far back the compressor looks. The kernel allocates as much
// while it unpacks, which has to fit beside the archive into 256 MiB.
const window = 8 << 20

// skeleton is what any init expects: mount points, and the nodes that the
// kernel and init use before devtmpfs is mounted (the kernel opens
// /dev/console for init itself).
func skeleton() []File {
	files := []File{
		CharDevice("dev/console", 0o600, 5, 1),
		CharDevice("dev/null", 0o666, 1, 3),
		CharDevice("dev/kmsg", 0o600, 1, 11),
		Symlink("lib", "usr/lib"), // the kernel's firmware loader and modprobe look there
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		Directory("root", 0o700),
	}
	for _, dir := range []string{"proc", "sys", "run", "mnt", "etc"} {
		files = append(files, Directory(dir, 0o755))
	}
	for i := range files {
		files[i].Origin = OriginSkeleton
	}
	return files
}

// busybox is the executable, its links, and /init: a link to a link, because
// the busybox picks the command by the last link on the way to it.
func (c Config) busybox() []File {
	if c.Init == nil {
		return nil
	}
	exe := Regular("bbin/bb", 0o755, c.Init)
	exe.Origin = OriginInit
	start := Symlink("init", "bbin/"+initCommand)
	start.Origin = OriginInit
	files := []File{exe, start}
	for _, name := range c.Commands {
		link := Symlink(path.Join("bbin", name), "bb")
		link.Origin = OriginCommand
		files = append(files, link)
	}
	return files
}

// initCommand is the command of the busybox that is PID 1.
const initCommand = "vic-init"

func describe(files []File) ([]Entry, error) {
	entries := make([]Entry, 0, len(files))
	for _, f := range files {
		e := Entry{Path: f.Path, Origin: f.Origin, Link: f.Link}
		if e.Origin == "" {
			e.Origin = OriginSkeleton
		}
		if f.Mode.IsRegular() {
			sum := sha256.New()
			if f.Data != nil {
				if _, err := io.Copy(sum, io.NewSectionReader(f.Data, 0, f.Size)); err != nil {
					return nil, fmt.Errorf("hash %s: %w", f.Path, err)
				}
			}
			e.Size, e.Data, e.SHA256 = f.Size, f.Data, hex.EncodeToString(sum.Sum(nil))
		}
		entries = append(entries, e)
	}
	return entries, nil
}
