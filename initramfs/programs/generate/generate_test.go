package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/tool"
)

// sample is a generator for stand-ins of vic-init and vic-env.
func sample(arch, out string) generator {
	return generator{
		arch: arch, out: out,
		initPkg: generatorPkg + "/testdata/vic-init", envPkg: generatorPkg + "/testdata/vic-env",
		appliancePkg: generatorPkg + "/testdata/vic-env",
	}
}

func run(t *testing.T, g generator) bool {
	t.Helper()
	changed, err := g.run()
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestGenerate(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the busybox")
	}
	first, second := t.TempDir(), t.TempDir()
	if !run(t, sample("amd64", first)) {
		t.Fatal("made nothing")
	}
	if run(t, sample("amd64", first)) {
		t.Error("made again what had not changed")
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("GOFLAGS", "-tags=other")
	t.Setenv("GOAMD64", "v3")
	run(t, sample("amd64", second))
	for _, name := range []string{"init-amd64.zst", "env-amd64.zst", "appliance-amd64.zst", "programs-amd64.json"} {
		if !bytes.Equal(read(t, first, name), read(t, second, name)) {
			t.Errorf("%s differs between two builds", name)
		}
	}
	t.Run("Commands", func(t *testing.T) { checkCommands(t, first) })
	if err := os.Remove(filepath.Join(first, "env-amd64.zst")); err != nil {
		t.Fatal(err)
	}
	if !run(t, sample("amd64", first)) {
		t.Error("did not make what was missing")
	}
}

// TestDiscardOld: programs of an architecture that is not asked for stay while
// they are up to date.
func TestDiscardOld(t *testing.T) {
	g := sample("arm64", t.TempDir())
	if changed, err := g.discardOld(); changed || err != nil {
		t.Fatalf("of nothing: %v %v", changed, err)
	}
	key, _, err := g.key()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range made() {
		if err := os.WriteFile(g.file(name, ".zst"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]int{key: 4, "old": 0} {
		if err := g.writeManifest(programs.Manifest{Key: key}); err != nil {
			t.Fatal(err)
		}
		changed, err := g.discardOld()
		left, _ := filepath.Glob(g.out + "/*")
		if err != nil || changed != (want == 0) || len(left) != want {
			t.Errorf("%.8s: %v %v, left %q", key, changed, err, left)
		}
		for _, name := range made() {
			if err := os.WriteFile(g.file(name, ".zst"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkCommands runs the busybox as the kernel runs /init, and as a shell does.
func checkCommands(t *testing.T, dir string) {
	var m programs.Manifest
	if err := json.Unmarshal(read(t, dir, "programs-amd64.json"), &m); err != nil {
		t.Fatal(err)
	}
	if want := names(packages("x/vic-init")); len(m.Commands) != len(want) || !slices.IsSorted(m.Commands) {
		t.Errorf("commands are %v, want %v", m.Commands, want)
	}
	root := t.TempDir()
	elf := unpack(t, read(t, dir, "init-amd64.zst"))
	if bytes.Contains(elf, []byte("vic-programs-")) {
		t.Error("the folder of the build is in the executable")
	}
	links := map[string]string{"bbin/vic-init": "bb", "bbin/echo": "bb", "init": "bbin/vic-init"}
	if err := os.Mkdir(filepath.Join(root, "bbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bbin/bb"), elf, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(root, "bbin/bb"), filepath.Join(root, "other")); err != nil {
		t.Fatal(err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for command, want := range map[string]string{
		"init agent":    `/bbin/vic-init" "agent"] order=variable,init`,
		"bbin/vic-init": `/bbin/vic-init"] order=variable,init`,
		"bbin/echo a b": "a b\n",
		"bbin/bb echo":  "\n",
		"other vic-env": `/other" "vic-env"] order=variable,init`,
		"other echo a":  "a\n",
	} {
		words := strings.Fields(command)
		out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: filepath.Join(root, words[0]), Args: words[1:]})
		if err != nil || !strings.Contains(string(out.Stdout), want) {
			t.Errorf("%s: printed %q, %v; want %q", command, out.Stdout, err, want)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for want, change := range map[string]func(*generator){
		"find inputs": func(g *generator) { g.envPkg = generatorPkg + "/testdata/gone" },
		"linux/vax":   func(g *generator) { g.arch = "vax" },
	} {
		g := sample("amd64", t.TempDir())
		change(&g)
		if _, err := g.run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
		if left, err := os.ReadDir(g.out); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpack(t *testing.T, b []byte) []byte {
	t.Helper()
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	out, err := dec.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
