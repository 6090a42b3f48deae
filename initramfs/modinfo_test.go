package initramfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var modinfoSample = []string{
	"license=GPL", "alias=pci:v00008086d*", "alias=fs-sample", "firmware=sample/a.bin", "firmware=sample/b*.bin",
	"softdep=pre: crc32c post: aead2 nls", "softdep=loose pre: sha256", "weakdep=later", "depends=mbcache,jbd2,a-b", "name=sample_fs", "broken",
}

var modinfoWant = Info{
	Name: "sample_fs", Depends: []string{"mbcache", "jbd2", "a_b"},
	Pre: []string{"crc32c", "sha256"}, Post: []string{"aead2", "nls"}, Weak: []string{"later"},
	Aliases: []string{"pci:v00008086d*", "fs-sample"}, Firmware: []string{"sample/a.bin", "sample/b*.bin"},
}

func TestModuleInfo(t *testing.T) {
	ko := testModule(t, modinfoSample...)
	for name, b := range map[string][]byte{"ko": ko, "xz": packXZ(t, ko), "zst": packZstd(t, ko)} {
		got, err := ModuleInfo(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(modinfoWant, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestModuleInfoRefuses(t *testing.T) {
	ko := testModule(t, modinfoSample...)
	packed := packXZ(t, ko)
	for name, b := range map[string][]byte{
		"empty": nil, "text": []byte("no module"), "truncated": ko[:100], "truncated xz": packed[:len(packed)/2],
		"altered xz": append(append([]byte(nil), packed[:len(packed)/2]...), make([]byte, len(packed)/2)...),
	} {
		if got, err := ModuleInfo(b); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

// The kernel's own tool must see the same strings, or the test's module is
// not what it claims to be.
func TestModuleInfoAgreesWithModinfo(t *testing.T) {
	tooltest.Need(t, "modinfo")
	file := filepath.Join(t.TempDir(), "sample_fs.ko")
	if err := os.WriteFile(file, testModule(t, modinfoSample...), 0o644); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string][]string{"alias": modinfoWant.Aliases, "firmware": modinfoWant.Firmware, "name": {modinfoWant.Name}} {
		out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "modinfo", Args: []string{"-F", field, file}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, strings.Fields(string(out.Stdout))); diff != "" {
			t.Errorf("%s: %s", field, diff)
		}
	}
}

func FuzzModuleInfo(f *testing.F) {
	ko := testModule(f, modinfoSample...)
	f.Add(ko)
	f.Add(packXZ(f, ko))
	f.Add(packZstd(f, ko))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := ModuleInfo(b)
		if err != nil {
			return
		}
		if strings.ContainsAny(info.Name+strings.Join(info.Depends, ""), "-\x00") {
			t.Errorf("names not normalised: %+v", info)
		}
	})
}
