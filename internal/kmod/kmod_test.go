package kmod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// tree writes a tree of modules; a module without a file has "-" before it.
func tree(t *testing.T, dep, softdep, alias, builtin string) *Tree {
	t.Helper()
	dir := t.TempDir()
	var kept []string
	for line := range strings.Lines(dep) {
		file, absent := strings.CutPrefix(line, "-")
		kept = append(kept, file)
		name, _, _ := strings.Cut(file, ":")
		if !absent {
			write(t, filepath.Join(dir, name), "")
		}
	}
	write(t, filepath.Join(dir, "modules.dep"), strings.Join(kept, ""))
	write(t, filepath.Join(dir, "modules.softdep"), softdep)
	write(t, filepath.Join(dir, "modules.alias"), alias)
	write(t, filepath.Join(dir, "modules.builtin"), builtin)
	tr, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func none(string) bool { return false }

func TestPlan(t *testing.T) {
	const dep = `kernel/fs/btrfs/btrfs.ko.xz: kernel/lib/raid6.ko.xz kernel/crypto/xor.ko.xz
kernel/lib/raid6.ko.xz: kernel/crypto/xor.ko.xz
kernel/crypto/xor.ko.xz:
kernel/crypto/blake2b-generic.ko.xz:
kernel/crypto/crc32c-intel.ko.xz:
kernel/a.ko.xz:
kernel/b.ko.xz:
kernel/net/vfio.ko.xz:
kernel/net/vfio-type1.ko.xz: kernel/net/vfio.ko.xz
kernel/broken.ko.xz: kernel/lost.ko.xz
-kernel/lost.ko.xz:
`
	const soft = `# comment
softdep btrfs pre: blake2b-256
softdep btrfs pre: sha256
softdep btrfs pre: crypto-crc32c
softdep a pre: b
softdep b pre: a
softdep vfio post: vfio_type1 absent
`
	const alias = "alias crypto-crc32c crc32c_intel\nalias blake2b-256 blake2b_generic\n"
	tr := tree(t, dep, soft, alias, "kernel/crypto/sha256.ko\n")
	for _, tt := range []struct {
		name   string
		names  []string
		loaded string
		want   []Step
	}{
		{"softdeps by alias, then dependencies, then it", []string{"btrfs"}, "", []Step{
			{"blake2b_generic", "kernel/crypto/blake2b-generic.ko.xz", nil, nil},
			{"crc32c_intel", "kernel/crypto/crc32c-intel.ko.xz", nil, nil},
			{"xor", "kernel/crypto/xor.ko.xz", nil, nil},
			{"raid6", "kernel/lib/raid6.ko.xz", []int{2}, nil},
			{"btrfs", "kernel/fs/btrfs/btrfs.ko.xz", []int{2, 3}, []int{0, 1}},
		}},
		{"what is loaded is not waited for", []string{"raid6"}, "xor", []Step{
			{"raid6", "kernel/lib/raid6.ko.xz", nil, nil},
		}},
		{"a cycle of softdeps is cut", []string{"a"}, "", []Step{
			{"b", "kernel/b.ko.xz", nil, nil},
			{"a", "kernel/a.ko.xz", nil, []int{0}},
		}},
		{"post softdeps come after, dashes are underscores", []string{"vfio"}, "", []Step{
			{"vfio", "kernel/net/vfio.ko.xz", nil, nil},
			{"vfio_type1", "kernel/net/vfio-type1.ko.xz", []int{0}, []int{0}},
		}},
		{"twice is once", []string{"xor", "xor"}, "", []Step{{"xor", "kernel/crypto/xor.ko.xz", nil, nil}}},
		{"without what it needs nothing is loaded", []string{"broken"}, "", nil},
		{"builtin and unknown", []string{"sha256", "nonsense"}, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tr.Plan(tt.names, func(n string) bool { return n == tt.loaded })
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no modules.dep: got %v", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "modules.dep"), "kernel/a.ko.xz\n")
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), `"kernel/a.ko.xz" has no module`) {
		t.Errorf("no colon: got %v", err)
	}
}

func TestMatch(t *testing.T) {
	const file = `# Aliases extracted from modules themselves.
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias virtio:d00000001v* virtio_net
alias acpi*:PNP0C0A:* battery
alias platform:intel-gpio gpio_intel
alias usb:v046DpC52Bd*dc*dsc*dp*ic*isc*ip*in* hid_logitech_dj
alias usb:v046Dp[CD]52[A-B]d*dc*dsc*dp*ic*isc*ip*in* other
alias cpu:type:x86,ven*fam*mod*:feature:*0094* crc32c_intel
alias malformed
alias fs-ext4 ext4
`
	got, err := Match(strings.NewReader(file), []string{
		"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00",
		"virtio:d00000001v00001AF4", "virtio:d00000099v00001AF4",
		"acpi:PNP0C0A:", "platform:intel_gpio", "fs_ext4",
		"usb:v046DpC52Bd1211dc00dsc00dp00ic03isc01ip01in00",
		"cpu:type:x86,ven0002fam0019mod0011:feature:,0000,0094,0095",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00":      {"virtio_pci"},
		"virtio:d00000001v00001AF4":                                  {"virtio_net"},
		"acpi:PNP0C0A:":                                              {"battery"},
		"platform:intel_gpio":                                        {"gpio_intel"},
		"fs_ext4":                                                    {"ext4"},
		"usb:v046DpC52Bd1211dc00dsc00dp00ic03isc01ip01in00":          {"hid_logitech_dj", "other"},
		"cpu:type:x86,ven0002fam0019mod0011:feature:,0000,0094,0095": {"crc32c_intel"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b", true},
		{"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "acb", false},
		{"*a*b*c", "xaxbxbc", true}, {"**", "x", true}, {"a?c", "abc", true}, {"a?", "a", false},
		{"[a-c]x", "bx", true}, {"[!a-c]x", "bx", false}, {"[!a-c]x", "dx", true},
		{"[]a]", "]", true}, {"[a-]", "-", true}, {"[ab", "a", false}, {"[", "[", false},
		{`\*`, "*", true}, {`\*`, "a", false}, {`\`, `\`, false},
		{"a-b", "a_b", true}, {"a_b", "a-b", true}, {"[-]", "_", false},
	} {
		if got := glob([]byte(tt.pattern), tt.s); got != tt.want {
			t.Errorf("glob(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

// FuzzGlob compares with path.Match, which differs in what it makes of
// slashes, dashes and '!'.
func FuzzGlob(f *testing.F) {
	f.Add("usb:v*p[A-F]?d*", "usb:v1pAxd2")
	f.Add("[", "[")
	f.Add(`\`, "")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		got := glob([]byte(pattern), s)
		if !strings.ContainsAny(pattern, " \n") {
			found, err := Match(strings.NewReader("alias "+pattern+" module\n"), []string{s})
			if err == nil && (len(found) > 0) != got {
				t.Errorf("pattern %q, modalias %q: match finds %v, glob says %v", pattern, s, found, got)
			}
		}
		if strings.ContainsAny(pattern+s, "/-_!^[\\") || !ascii(pattern+s) {
			return
		}
		want, err := filepath.Match(pattern, s)
		if err == nil && got != want {
			t.Errorf("glob(%q, %q) = %v, path.Match says %v", pattern, s, got, want)
		}
	})
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 126 })
}

func FuzzOpen(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/a.ko\n", "softdep a pre: b post: b\n", "alias x a\n")
	f.Fuzz(func(t *testing.T, dep, soft, alias string) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "modules.dep"), dep)
		write(t, filepath.Join(dir, "modules.softdep"), soft)
		write(t, filepath.Join(dir, "modules.alias"), alias)
		tr, err := Open(dir)
		if err != nil {
			return
		}
		for name := range tr.dep {
			for i, s := range tr.Plan([]string{name}, none) {
				if slices.ContainsFunc(append(s.Needs, s.After...), func(n int) bool { return n >= i }) {
					t.Fatalf("step %d of %s comes before what it needs: %+v", i, name, s)
				}
			}
		}
	})
}

// TestMatchAsModprobe asks modprobe the same, which takes aliases from its
// configuration too: it reads modules.alias only as depmod's binary index.
func TestMatchAsModprobe(t *testing.T) {
	tooltest.Need(t, "modprobe")
	const aliases = `alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000
alias acpi*:PNP0C0A:* battery
alias usb:v046Dp[CD]52[A-B]d*in* odd
alias a-b* dashed
`
	root := t.TempDir()
	conf := filepath.Join(root, "aliases.conf")
	write(t, conf, aliases)
	for _, q := range []string{
		"pci:v00008086d0000100Esv1sd1bc02sc00i00", "pci:v00008086d0000100Fsv1sd1bc02sc00i00",
		"acpi:PNP0C0A:", "acpi:PNP0C0B:", "usb:v046DpC52Bd1in00", "usb:v046DpE52Bd1in00",
		"a-bc", "a_bc", "a.bc",
	} {
		var want []string
		if out, err := exec.Command("modprobe", "-d", root, "-S", "1.0", "-C", conf, "-R", q).Output(); err == nil {
			want = strings.Fields(string(out))
		}
		got, err := Match(strings.NewReader(aliases), []string{q})
		if err != nil || !slices.Equal(got[q], want) {
			t.Errorf("%s: got %v, %v; modprobe says %v", q, got[q], err, want)
		}
	}
}

// BenchmarkMatch asks for the devices of a machine in an index as large as that
// of a generic kernel.
func BenchmarkMatch(b *testing.B) {
	var index strings.Builder
	for i := range 27000 {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&index, "alias pci:v%08Xd%08Xsv*sd*bc*sc*i* module%d\n", i%97, i, i)
		case 1:
			fmt.Fprintf(&index, "alias usb:v%04Xp%04Xd*dc*dsc*dp*ic*isc*ip*in* module%d\n", i%97, i, i)
		case 2:
			fmt.Fprintf(&index, "alias acpi*:PNP%04X:* module%d\n", i, i)
		}
	}
	var devices []string
	for i := range 100 {
		devices = append(devices, fmt.Sprintf("pci:v%08Xd%08Xsv00000001sd00000001bc02sc00i00", i%97, i*30))
	}
	b.ReportAllocs()
	b.SetBytes(int64(index.Len()))
	for b.Loop() {
		if found, err := Match(strings.NewReader(index.String()), devices); err != nil || len(found) == 0 {
			b.Fatal(found, err)
		}
	}
}

// recorder is a kernel that remembers what it was given.
type recorder struct {
	mu     sync.Mutex
	order  []string
	params map[string]string
	fail   map[string]error
}

func (r *recorder) insert(file, params string) error {
	time.Sleep(time.Millisecond) // so that orders that depend on luck show
	r.mu.Lock()
	defer r.mu.Unlock()
	name := Name(file)
	if err := r.fail[name]; err != nil {
		return err
	}
	r.order = append(r.order, name)
	if params != "" {
		r.params[name] = params
	}
	return nil
}

const chain = "kernel/c.ko: kernel/b.ko kernel/a.ko\nkernel/b.ko: kernel/a.ko\nkernel/a.ko:\nkernel/d.ko:\n"

func TestLoadInOrderAndOnce(t *testing.T) {
	tr := tree(t, chain, "", "", "")
	r := &recorder{params: map[string]string{}}
	l := &Loader{Insert: r.insert, Parallel: 4, Params: map[string]string{"b": "x=1 y"}}
	var wg sync.WaitGroup
	for range 8 { // all at once: each returns when c is there
		wg.Go(func() {
			if _, err := l.Load(context.Background(), tr, "c"); err != nil || !l.loaded("c") {
				t.Errorf("c is loaded: %v, %v", l.loaded("c"), err)
			}
		})
	}
	wg.Wait()
	if want := []string{"a", "b", "c"}; !slices.Equal(r.order, want) {
		t.Errorf("got %v, want %v", r.order, want)
	}
	if r.params["b"] != "x=1 y" || len(r.params) != 1 {
		t.Errorf("params %v", r.params)
	}
}

func TestLoadFailure(t *testing.T) {
	tr := tree(t, chain, "", "", "")
	r := &recorder{params: map[string]string{}, fail: map[string]error{"b": errors.New("no such device")}}
	l := &Loader{Insert: r.insert, Parallel: 2}
	loaded, err := l.Load(context.Background(), tr, "c", "d")
	if want := []string{"a", "d"}; !slices.Equal(slices.Sorted(slices.Values(loaded)), want) {
		t.Errorf("loaded %v, want %v", loaded, want)
	}
	want := "load module b: no such device\nload module c: it needs b"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	r.fail = nil
	if loaded, err := l.Load(context.Background(), tr, "b"); err == nil || len(loaded) > 0 {
		t.Errorf("tried again: %v, %v", loaded, err)
	}
}

func TestLoadStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := &recorder{}
	if _, err := (&Loader{Insert: r.insert}).Load(ctx, tree(t, chain, "", "", ""), "a"); !errors.Is(err, context.Canceled) || len(r.order) > 0 {
		t.Errorf("got %v, loaded %v", err, r.order)
	}
}

// What the kernel has already is not even read.
func TestFinitPresent(t *testing.T) {
	states, err := filepath.Glob("/sys/module/*/initstate")
	if err != nil {
		t.Fatal(err)
	}
	if len(states) == 0 {
		t.Skip("this kernel has no modules: qemu-tests/disks has one with some")
	}
	name := filepath.Base(filepath.Dir(states[0]))
	if err := Finit("/nowhere/"+strings.ReplaceAll(name, "_", "-")+".ko.xz", ""); err != nil {
		t.Error(err)
	}
	if err := Finit("/nowhere/none.ko", ""); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
