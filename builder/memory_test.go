package builder

import (
	"encoding/binary"
	"strings"
	"testing"
)

const mib = 1 << 20

// bzImage has the fields of a kernel's header that say how much it needs.
func bzImage(version uint16, initSize uint32) string {
	b := make([]byte, 0x300)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], version)
	binary.LittleEndian.PutUint32(b[0x260:], initSize)
	return string(b)
}

func armImage(size uint64) string {
	b := make([]byte, 0x300)
	copy(b[0x38:], "ARM\x64")
	binary.LittleEndian.PutUint64(b[16:], size)
	return string(b)
}

func TestKernelMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		image string
		want  int64
		err   string
	}{
		"x86":       {bzImage(0x20f, 58*mib), 58 * mib, ""},
		"old x86":   {bzImage(0x209, 58*mib), 0, "says how much memory"},
		"arm64":     {armImage(40 * mib), 40 * mib, ""},
		"old arm64": {armImage(0), 0, "says how much memory"},
		"neither":   {strings.Repeat("x", 0x300), 0, "says how much memory"},
		"short":     {"MZ", 0, "read its header"},
	} {
		got, err := kernelMemory(strings.NewReader(tt.image))
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %d, %v, want %d, %q", name, got, err, tt.want, tt.err)
		}
	}
}

// What counts most differs: a small bundle needs room to work in, a large one
// room to be unpacked, and a kernel may not take more than half of the memory.
func TestNeed(t *testing.T) {
	for name, tt := range map[string]struct {
		kernel, runs, packed, unpacked int64 // MiB
		want                           Need
	}{
		"room to work":     {11, 40, 8, 30, Need{2*19 + 40 + 8 + 16, 30 + 104}},
		"half of it":       {11, 56, 8, 20, Need{2*19 + 56 + 8 + 16, 2 * (56 + 8)}},
		"room to unpack":   {11, 10, 90, 100, Need{2*101 + 10 + 90 + 16, 90 + 100 + 24}},
		"all tools, large": {12, 60, 22, 40, Need{2*34 + 60 + 22 + 16, 2 * (60 + 22)}},
	} {
		got := need(tt.kernel*mib, tt.runs*mib, tt.packed*mib, tt.unpacked*mib)
		want := Need{tt.want.Load * mib, tt.want.Total * mib}
		if got != want {
			t.Errorf("%s: got %d and %d MiB, want %d and %d", name, got.Load/mib, got.Total/mib, want.Load/mib, want.Total/mib)
		}
	}
}

func TestMemoryOfABundle(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{KernelFile: bzImage(0x20f, 50*mib)})
	b := &Bundle{dir: dir, Files: []File{
		{Name: InitramfsFile, Size: 5 * mib, Parts: []Part{{Raw: 15 * mib, Files: 1}, {Raw: 2 * mib, Files: 255}}},
		{Name: SystemFile, Size: 2 * mib},
		{Name: LockFile, Size: 9 * mib},
	}}
	got, err := b.Memory()
	want := need(0x300, 50*mib, 7*mib, 20*mib)
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	b.Files[0].Parts = nil
	_, err = b.Memory()
	wantError(t, err, "does not say what the initramfs has in it")
	b.dir = t.TempDir()
	_, err = b.Memory()
	wantError(t, err, "compute memory: open")
}
