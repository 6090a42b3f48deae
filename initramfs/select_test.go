package initramfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// kernelTree is a small kernel: erofs and overlay are modules, loop is built
// in, f2fs needs crc32c softly, by alias, and has a weak dependency.
func kernelTree(t testing.TB) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{
		"modules.builtin":         {Data: []byte("kernel/drivers/block/loop.ko\nkernel/fs/ext4/ext4.ko\n")},
		"modules.builtin.modinfo": {Data: []byte("loop.license=GPL\x00")},
		"modules.order": {Data: []byte("kernel/arch/x86/crypto/crc32c-intel.ko\nkernel/crypto/crc32c_generic.ko\n" +
			"kernel/fs/erofs/erofs.ko\n")},
		"modules.dep.bin": {Data: []byte("not wanted")},
	}
	for path, info := range map[string][]string{
		"kernel/fs/erofs/erofs.ko.xz":                        {"name=erofs", "depends=libcrc32c", "alias=fs-erofs"},
		"kernel/lib/libcrc32c.ko.xz":                         {"name=libcrc32c", "depends=", "softdep=pre: crc32c"},
		"kernel/fs/overlayfs/overlay.ko.xz":                  {"name=overlay", "depends="},
		"kernel/fs/f2fs/f2fs.ko.xz":                          {"name=f2fs", "depends=lz4-compress", "softdep=pre: crc32c gone", "weakdep=lz4hc"},
		"kernel/lib/lz4/lz4-compress.ko.xz":                  {"name=lz4_compress", "depends=lz4hc_base"},
		"kernel/lib/lz4/lz4hc_base.ko.xz":                    {"name=lz4hc_base"},
		"kernel/crypto/lz4hc.ko.xz":                          {"name=lz4hc", "depends=lz4hc_base"},
		"kernel/crypto/crc32c_generic.ko.xz":                 {"name=crc32c_generic", "alias=crypto-crc32c", "alias=crc32c"},
		"kernel/arch/x86/crypto/crc32c-intel.ko.xz":          {"name=crc32c_intel", "alias=crypto-crc32c", "alias=crc32c"},
		"kernel/drivers/net/ethernet/intel/e1000/e1000.ko":   {"name=e1000", "alias=pci:v00008086d0000100E*", "firmware=intel/e1000.fw"},
		"kernel/drivers/net/ethernet/mellanox/mlxsw/core.ko": {"name=core"},
		"kernel/drivers/net/wireless/iwl.ko":                 {"name=iwl"},
	} {
		b := testModule(t, info...)
		if strings.HasSuffix(path, ".xz") {
			b = packXZ(t, b)
		}
		tree[path] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	return tree
}

func TestSelectModules(t *testing.T) {
	crc := []string{"kernel/arch/x86/crypto/crc32c-intel.ko.xz", "kernel/crypto/crc32c_generic.ko.xz"}
	for name, tc := range map[string]struct {
		sets []string
		want []string
	}{
		"nothing":        {nil, []string{}},
		"one module":     {[]string{"overlay"}, []string{"kernel/fs/overlayfs/overlay.ko.xz"}},
		"built in":       {[]string{"loop"}, []string{}},
		"by other dash":  {[]string{"crc32c-generic"}, crc[1:]},
		"by alias":       {[]string{"crc32c"}, crc},
		"hard and soft":  {[]string{"erofs"}, []string{crc[0], crc[1], "kernel/fs/erofs/erofs.ko.xz", "kernel/lib/libcrc32c.ko.xz"}},
		"of a soft one":  {[]string{"f2fs"}, []string{crc[0], crc[1], "kernel/crypto/lz4hc.ko.xz", "kernel/fs/f2fs/f2fs.ko.xz", "kernel/lib/lz4/lz4-compress.ko.xz", "kernel/lib/lz4/lz4hc_base.ko.xz"}},
		"a set, by glob": {[]string{"network-wired"}, []string{"kernel/drivers/net/ethernet/intel/e1000/e1000.ko"}},
		"a set, by name": {[]string{"early"}, []string{crc[0], crc[1], "kernel/fs/erofs/erofs.ko.xz", "kernel/fs/overlayfs/overlay.ko.xz", "kernel/lib/libcrc32c.ko.xz"}},
	} {
		got, err := SelectModules(kernelTree(t), tc.sets...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSelectModulesRefuses(t *testing.T) {
	without := kernelTree(t)
	delete(without, "kernel/fs/overlayfs/overlay.ko.xz")
	cyclic := kernelTree(t)
	cyclic["kernel/a.ko"] = &fstest.MapFile{Data: testModule(t, "name=a", "depends=b")}
	cyclic["kernel/b.ko"] = &fstest.MapFile{Data: testModule(t, "name=b", "depends=a")}
	orphan := kernelTree(t)
	orphan["kernel/a.ko"] = &fstest.MapFile{Data: testModule(t, "name=a", "depends=b")}
	damaged := kernelTree(t)
	damaged["kernel/a.ko.xz"] = &fstest.MapFile{Data: []byte("\xfd7zXZ\x00 and then nothing")}
	climbing := kernelTree(t)
	climbing["modules.dep"] = &fstest.MapFile{Data: []byte("kernel/a.ko: ../../etc/shadow.ko\n")}
	for want, tc := range map[string]struct {
		tree fs.FS
		set  string
	}{
		`no set or module "erosf" in this kernel: did you mean "erofs"?`:                {kernelTree(t), "erosf"},
		`no set or module "networkwired" in this kernel: did you mean "network-wired"?`: {kernelTree(t), "networkwired"},
		`no set or module "quite-something-else" in this kernel`:                        {kernelTree(t), "quite-something-else"},
		`select module set early: this kernel has no overlay`:                           {without, "early"},
		`depends on itself`:              {cyclic, "erofs"},
		`a depends on b, which is not`:   {orphan, "erofs"},
		`kernel/a.ko.xz: decompress`:     {damaged, "erofs"},
		`is not a module's dependencies`: {climbing, "erofs"},
		`it has no modules`:              {fstest.MapFS{}, "erofs"},
	} {
		_, err := SelectModules(tc.tree, tc.set)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", tc.set, err, want)
		}
	}
}

func TestDepmod(t *testing.T) {
	got, err := Depmod(kernelTree(t))
	if err != nil {
		t.Fatal(err)
	}
	deps, err := parseDep(got["modules.dep"])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"kernel/lib/lz4/lz4-compress.ko.xz", "kernel/lib/lz4/lz4hc_base.ko.xz"}
	if diff := cmp.Diff(want, deps["kernel/fs/f2fs/f2fs.ko.xz"]); diff != "" {
		t.Errorf("loading from the last to the first must work: %s", diff)
	}
	if len(deps) != 12 {
		t.Errorf("modules.dep has %d modules, want 12", len(deps))
	}
	// modules.order decides which of two modules for one alias comes first.
	intel := strings.Index(string(got["modules.alias"]), "alias crc32c crc32c_intel\n")
	generic := strings.Index(string(got["modules.alias"]), "alias crc32c crc32c_generic\n")
	if intel < 0 || generic < intel {
		t.Errorf("modules.alias is out of order:\n%s", got["modules.alias"])
	}
	if want := "softdep f2fs pre: crc32c gone\n"; !strings.Contains(string(got["modules.softdep"]), want) {
		t.Errorf("modules.softdep has no %q:\n%s", want, got["modules.softdep"])
	}
	if want := "weakdep f2fs lz4hc\n"; string(got["modules.weakdep"]) != want {
		t.Errorf("modules.weakdep is %q, want %q", got["modules.weakdep"], want)
	}
}

func TestRestrictedIndexLeadsOnlyToChosenModules(t *testing.T) {
	tr, err := openTree(kernelTree(t))
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := tr.selectSets([]string{"erofs"})
	if err != nil {
		t.Fatal(err)
	}
	index := tr.restricted(chosen)
	deps, err := parseDep(index["modules.dep"])
	if err != nil {
		t.Fatal(err)
	}
	if len(deps) != len(chosen) {
		t.Errorf("modules.dep has %d modules, chosen are %d", len(deps), len(chosen))
	}
	for _, a := range parseAliases(index["modules.alias"]) {
		if a.module == "e1000" || a.module == "f2fs" {
			t.Errorf("modules.alias leads to %s, which is not there", a.module)
		}
	}
	if !strings.Contains(string(index["modules.alias"]), "alias fs-erofs erofs\n") {
		t.Errorf("modules.alias lacks erofs:\n%s", index["modules.alias"])
	}
	if len(index["modules.builtin"]) == 0 || len(index["modules.builtin.modinfo"]) == 0 {
		t.Error("what is built in is gone")
	}
	if want := "kernel/arch/x86/crypto/crc32c-intel.ko\nkernel/crypto/crc32c_generic.ko\nkernel/fs/erofs/erofs.ko\n"; string(index["modules.order"]) != want {
		t.Errorf("modules.order is %q, want %q", index["modules.order"], want)
	}
}

func TestFirmwareFor(t *testing.T) {
	firmware := fstest.MapFS{
		"intel/e1000.fw.zst":  {Data: []byte("../real/e1000-2.fw.zst"), Mode: fs.ModeSymlink | 0o777},
		"real/e1000-2.fw.zst": {Data: []byte("blob")},
		"amd/other.bin":       {Data: []byte("other")},
	}
	files := []string{"kernel/drivers/net/ethernet/intel/e1000/e1000.ko"}
	found, missing, err := FirmwareFor(kernelTree(t), files, firmware)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"intel/e1000.fw.zst", "real/e1000-2.fw.zst"}, found); diff != "" || len(missing) != 0 {
		t.Errorf("%s missing %v", diff, missing)
	}
	found, missing, err = FirmwareFor(kernelTree(t), files, fstest.MapFS{})
	if err != nil || len(found) != 0 || len(missing) != 1 || missing[0] != "intel/e1000.fw" {
		t.Errorf("without firmware: found %v, missing %v, %v", found, missing, err)
	}
}

func TestFirmwareStaysInItsTree(t *testing.T) {
	top := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(top, "firmware/intel"), 0o755),
		os.WriteFile(filepath.Join(top, "shadow"), []byte("secret"), 0o600),
		os.Symlink("../../shadow", filepath.Join(top, "firmware/intel/e1000.fw")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	files := []string{"kernel/drivers/net/ethernet/intel/e1000/e1000.ko"}
	found, _, err := FirmwareFor(kernelTree(t), files, os.DirFS(filepath.Join(top, "firmware")))
	if err == nil || !strings.Contains(err.Error(), "leaves the firmware folder") {
		t.Errorf("a link out of the tree gave %v, %v", found, err)
	}
}

func TestSetsAreSound(t *testing.T) {
	sets, err := Sets()
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range sets {
		if s.About == "" {
			t.Errorf("set %s says nothing about itself", name)
		}
		if len(s.Need)+len(s.Modules)+len(s.Paths)+len(s.Sets) == 0 {
			t.Errorf("set %s is empty", name)
		}
	}
	for _, bad := range []string{"a: {modlues: [x]}", "a: {sets: [b]}", "a: {paths: ['[']}", "a: ["} {
		if _, err := parseSets([]byte(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func FuzzParseDep(f *testing.F) {
	f.Add([]byte("kernel/a.ko: kernel/b.ko.xz kernel/c.ko\nkernel/b.ko.xz:\n# x\n"))
	f.Add([]byte("kernel/a.ko ../b.ko"))
	f.Fuzz(func(t *testing.T, b []byte) {
		deps, err := parseDep(b)
		if err != nil {
			return
		}
		for p, ds := range deps {
			for _, d := range append(ds, p) {
				if !fs.ValidPath(d) || moduleName(d) != normalName(moduleName(d)) {
					t.Errorf("accepted %q", d)
				}
			}
		}
	})
}

func FuzzParseAliases(f *testing.F) {
	f.Add([]byte("alias pci:v* a-b\nalias x\n"), []byte("softdep a pre: b post: c\nsoftdep x\n"))
	f.Fuzz(func(t *testing.T, aliases, soft []byte) {
		for _, a := range parseAliases(aliases) {
			if a.pattern == "" || a.module == "" || strings.ContainsAny(a.module, "- \t\n") {
				t.Errorf("accepted %+v", a)
			}
		}
		for name, others := range parseSoft(soft, aliases) {
			if name == "" || strings.Contains(strings.Join(others, ""), " ") {
				t.Errorf("accepted %q: %q", name, others)
			}
		}
	})
}
