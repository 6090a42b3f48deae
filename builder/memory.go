package builder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Need is what a bundle takes of a machine's memory, in bytes.
type Need struct {
	// Load has to be available (MemAvailable, proc_meminfo(5)) on a running
	// system, which starts the bundle by kexec, before its files come.
	Load int64 `json:"load"`
	// Total is what a machine has to have (MemTotal: without what its kernel
	// keeps for itself: some 43 MiB, Debian's) for the RAM system to start
	// from it, and to have Spare available then.
	Total int64 `json:"total"`
}

// Spare is the memory that is left for an installation when the RAM system has
// started: a plan asks for as much.
const Spare = 64 << 20

const (
	// running is what the RAM system takes beside its files, with a network card
	// and a disk: vic-init, slabs, page tables, and the watermarks that the
	// kernel does not call available. Measured with Debian's cloud kernel 6.12 and
	// files of 19 MiB, at "agent ready" (160, 192 and 256 MiB of memory
	// are a MemTotal of 117, 149 and 213 MiB): 69, 99 and 162 MiB are available,
	// so that it takes 29 to 31 MiB. The rest is for the difference between what
	// two kernels keep for themselves: Total is compared with the old one's.
	running = 40 << 20
	// unpacking is what the kernel takes while it unpacks the initramfs, whose
	// compressed form is freed afterwards: zstd's window, and itself.
	unpacking = 24 << 20
	// leaving is for the program that loads, and for the end of the old system.
	leaving = 16 << 20
)

// Memory computes what the bundle needs from its files.
//
// Loading by kexec_file_load(2) takes memory at four places at once: the files
// (in a tmpfs, then in a memfd, never in both), the buffers that the kernel
// reads them into, and the pages from which the other kernel starts, as many as
// that wants to run in and not only as many as its image has
// (kimage_load_normal_segment). Those may not be more than half of MemTotal
// (sanity_check_segment_list, kernel/kexec_core.c).
func (b *Bundle) Memory() (Need, error) {
	kernel, err := os.Open(b.Path(KernelFile))
	if err != nil {
		return Need{}, fmt.Errorf("compute memory: %w", err)
	}
	defer kernel.Close()
	st, err := kernel.Stat()
	if err != nil {
		return Need{}, fmt.Errorf("compute memory: %w", err)
	}
	runs, err := kernelMemory(kernel)
	if err != nil {
		return Need{}, fmt.Errorf("compute memory for %s: %w", kernel.Name(), err)
	}
	packed, unpacked, err := b.initrdMemory()
	if err != nil {
		return Need{}, err
	}
	return need(st.Size(), max(runs, st.Size()), packed, unpacked), nil
}

// need is the arithmetic: kernel is its image, runs what it wants to run in.
func need(kernel, runs, packed, unpacked int64) Need {
	return Need{
		Load:  2*(kernel+packed) + runs + packed + leaving,
		Total: max(unpacked+running+Spare, unpacked+packed+unpacking, 2*(runs+packed)),
	}
}

// page is what files in RAM are rounded up to, on average by half of it.
const page = 4096

// initrdMemory is the size of the initrd, and what it takes once unpacked: the
// files in the initramfs, and the system image as it is.
func (b *Bundle) initrdMemory() (packed, unpacked int64, err error) {
	for _, f := range b.Files {
		switch f.Name {
		case InitramfsFile:
			packed += f.Size
			for _, p := range f.Parts {
				unpacked += p.Raw + int64(p.Files)*page
			}
		case SystemFile:
			packed += f.Size
			unpacked += f.Size
		}
	}
	if packed == 0 || unpacked < packed {
		return 0, 0, fmt.Errorf("compute memory: %s does not say what the initramfs has in it", b.Path(BundleFile))
	}
	return packed, unpacked, nil
}

// kernelMemory is how much memory a kernel needs before it looks for more by
// itself: init_size of a bzImage (Documentation/arch/x86/boot.rst), image_size
// of an arm64 Image (Documentation/arch/arm64/booting.rst).
func kernelMemory(image io.ReaderAt) (int64, error) {
	head := make([]byte, 0x264)
	if _, err := image.ReadAt(head, 0); err != nil {
		return 0, fmt.Errorf("read its header: %w", err)
	}
	switch {
	case string(head[0x202:0x206]) == "HdrS" && binary.LittleEndian.Uint16(head[0x206:]) >= 0x20a:
		return int64(binary.LittleEndian.Uint32(head[0x260:])), nil
	case string(head[0x38:0x3c]) == "ARM\x64":
		if size := int64(binary.LittleEndian.Uint64(head[16:])); size > 0 {
			return size, nil
		}
	}
	return 0, errors.New("it is no kernel that says how much memory it needs")
}
