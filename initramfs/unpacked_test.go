package initramfs

import (
	"bytes"
	"io"
	"testing"
)

func TestUnpacked(t *testing.T) {
	ko := []byte("\x7fELF and so on")
	in := func(path, origin string, b []byte) File {
		f := Regular(path, 0o644, b)
		f.Origin = origin
		return f
	}
	for name, test := range map[string]struct {
		in   File
		path string
		want []byte
	}{
		"xz":    {in("k/a.ko.xz", OriginModule, packXZ(t, ko)), "k/a.ko", ko},
		"zst":   {in("k/a.ko.zst", OriginModule, packZstd(t, ko)), "k/a.ko", ko},
		"plain": {in("k/a.ko", OriginModule, ko), "k/a.ko", ko},
		"index": {in("k/modules.dep", OriginIndex, []byte("a.ko.xz: b.ko.xz c.ko.zst\nb.ko.xz:\nc.ko.zst:\n")),
			"k/modules.dep", []byte("a.ko: b.ko c.ko\nb.ko:\nc.ko:\n")},
		"another's file": {in("k/x.ko.xz", OriginFile, []byte("x")), "k/x.ko.xz", []byte("x")},
	} {
		got, err := unpacked([]File{test.in})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := io.ReadAll(io.NewSectionReader(got[0].Data, 0, got[0].Size))
		if err != nil || got[0].Path != test.path || !bytes.Equal(b, test.want) || got[0].Origin != test.in.Origin {
			t.Errorf("%s: %s (%s) has %q, %v", name, got[0].Path, got[0].Origin, b, err)
		}
	}
	if _, err := unpacked([]File{in("k/a.ko.xz", OriginModule, packXZ(t, ko)[:20])}); err == nil {
		t.Error("a truncated module was taken")
	}
}
