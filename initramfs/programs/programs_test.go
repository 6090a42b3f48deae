package programs

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

func packed(t *testing.T, b string) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll([]byte(b), nil)
}

func tree(t *testing.T, elf string) fstest.MapFS {
	t.Helper()
	p := Program{Size: int64(len(elf)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(elf)))}
	m, err := json.Marshal(Manifest{Commands: []string{"ls", "vic-init"}, Init: p, Env: p})
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"files/programs-amd64.json": {Data: m}, "files/init-amd64.zst": {Data: packed(t, elf)}}
}

func pickInit(m Manifest) Program { return m.Init }

func TestProgram(t *testing.T) {
	got, err := program(tree(t, "busybox"), "amd64", "init", pickInit)
	if err != nil || string(got) != "busybox" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestProgramRefuses(t *testing.T) {
	altered := tree(t, "busybox")
	altered["files/init-amd64.zst"].Data = packed(t, "busyb0x")
	truncated := tree(t, "busybox")
	truncated["files/init-amd64.zst"].Data = truncated["files/init-amd64.zst"].Data[:9]
	gone := tree(t, "busybox")
	delete(gone, "files/init-amd64.zst")
	unreadable := tree(t, "busybox")
	unreadable["files/programs-amd64.json"].Data = []byte("{")
	for want, tc := range map[string]struct {
		tree fstest.MapFS
		arch string
	}{
		"manifest says":                                 {altered, "amd64"},
		"decompress target program init":                {truncated, "amd64"},
		"read target program init":                      {gone, "amd64"},
		"decode manifest":                               {unreadable, "amd64"},
		`no target programs for architecture "riscv64"`: {tree(t, ""), "riscv64"},
		"built without target programs: run make build": {fstest.MapFS{}, "amd64"},
	} {
		_, err := program(tc.tree, tc.arch, "init", pickInit)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
	if _, err := manifest(fstest.MapFS{}, "amd64"); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("got %v, want %v", err, ErrNotBuilt)
	}
}

// What is embedded, if anything is, must be whole: an ELF of its architecture
// with vic-init among its commands.
func TestEmbeddedPrograms(t *testing.T) {
	for arch, machine := range map[string]byte{"amd64": 62, "arm64": 183} {
		commands, err := Commands(arch)
		if errors.Is(err, ErrNotBuilt) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(" "+strings.Join(commands, " ")+" ", " vic-init ") {
			t.Errorf("%s: no vic-init in %v", arch, commands)
		}
		for name, get := range map[string]func(string) ([]byte, error){"init": Init, "env": Env, "appliance": Appliance} {
			elf, err := get(arch)
			if err != nil {
				t.Fatal(err)
			}
			if len(elf) < 20 || string(elf[:4]) != "\x7fELF" || elf[18] != machine {
				t.Errorf("%s for %s is no ELF of machine %d", name, arch, machine)
			}
		}
	}
}
