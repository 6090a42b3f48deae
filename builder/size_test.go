package builder

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// artefact writes a bundle whose files have these parts.
func artefact(t *testing.T, content map[string][]Part) string {
	t.Helper()
	dir := t.TempDir()
	b := Bundle{Version: Version, Item: "installer", Arch: "amd64", Kernel: "6.12"}
	for _, name := range []string{KernelFile, InitramfsFile, LockFile} {
		writeFiles(t, dir, map[string]string{name: strings.Repeat(name, 1001)})
		f, err := output{dir}.file(name, content[name])
		if err != nil {
			t.Fatal(err)
		}
		b.Files = append(b.Files, f)
	}
	if err := (output{dir}).writeManifest(BundleFile, b); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSizePartsAddUp(t *testing.T) {
	dir := artefact(t, map[string][]Part{
		InitramfsFile: {{Origin: "module:ext4", Size: 3, Raw: 30}, {Origin: "package:bash=1", Size: 3, Raw: 10}, {Origin: "module:ext4", Size: 1, Raw: 5}},
	})
	r, err := Size(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Total != int64(1001*(len(KernelFile)+len(InitramfsFile))) { // lock.json is metadata
		t.Errorf("total %d", r.Total)
	}
	for _, f := range r.Files {
		var sum int64
		for _, p := range f.Parts {
			sum += p.Size
		}
		if len(f.Parts) > 0 && sum != f.Size {
			t.Errorf("%s: parts have %d of %d bytes", f.Name, sum, f.Size)
		}
	}
	var sum int64
	byOrigin := map[string]int64{}
	for _, p := range r.Parts() {
		sum += p.Size
		byOrigin[p.Origin] = p.Size
	}
	if sum != r.Total || byOrigin["vic:vmlinuz"] != 7007 || byOrigin["module:ext4"] <= byOrigin["package:bash=1"] {
		t.Errorf("%d of %d bytes: %v", sum, r.Total, byOrigin)
	}
	one, err := Size(filepath.Join(dir, KernelFile))
	if err != nil || one.Total != 7007 || len(one.Files) != 1 {
		t.Errorf("got %+v, %v", one, err)
	}
}

func TestScaleIsExact(t *testing.T) {
	for n := int64(1); n < 60; n++ {
		for _, total := range []int64{0, 1, 7, 1000, 1<<40 + 1} {
			var weights []Part
			for i := range n {
				weights = append(weights, Part{Origin: fmt.Sprint(i % 17), Size: i * i * 7919})
			}
			var sum int64
			for _, p := range scale(weights, total) {
				if p.Size < 0 {
					t.Fatalf("%d of %d: %+v", n, total, p)
				}
				sum += p.Size
			}
			if sum != total {
				t.Fatalf("%d parts have %d bytes of %d", n, sum, total)
			}
		}
	}
	if got := scale(nil, 5); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestAgainst(t *testing.T) {
	report := func(parts ...Part) *SizeReport {
		r := &SizeReport{Files: []File{{Name: "f", Parts: parts}}}
		for _, p := range parts {
			r.Total += p.Size
		}
		return r
	}
	old := report(Part{Origin: "package:a=1", Size: 100}, Part{Origin: "package:b=1", Size: 50}, Part{Origin: "module:gone", Size: 7})
	now := report(Part{Origin: "package:a=2", Size: 90}, Part{Origin: "package:b=2", Size: 50}, Part{Origin: "module:new", Size: 30})
	got := fmt.Sprint(now.Against(old))
	if got != "[{module:new 0 30} {module:gone 7 0} {package:a 100 90}]" {
		t.Errorf("got %s", got)
	}
	if same := now.Against(now); len(same) != 0 {
		t.Errorf("got %v", same)
	}
}

// A change of any byte, and a cut at any length, is found and named.
func TestAlteredArtefactIsRefused(t *testing.T) {
	dir := artefact(t, nil)
	path := filepath.Join(dir, InitramfsFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int{0, 1, 511, 512, len(whole) / 2, len(whole) - 1} {
		altered := append([]byte(nil), whole...)
		altered[at] ^= 0x40
		write(altered)
		_, err := OpenBundle(dir)
		wantError(t, err, "verify "+path, "SHA-256 is ", " was built")
	}
	for _, n := range []int{0, 1, len(whole) - 1} {
		write(whole[:n])
		_, err := OpenBundle(dir)
		wantError(t, err, path, fmt.Sprintf("it has %d bytes, %d were built", n, len(whole)))
	}
	write(append(whole, 0))
	_, err = OpenBundle(dir)
	wantError(t, err, fmt.Sprintf("it has %d bytes", len(whole)+1))
	write(whole)
	if b, err := OpenBundle(dir); err != nil || b.Kernel != "6.12" {
		t.Errorf("got %+v, %v", b, err)
	}
}

func TestManifestIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(m map[string]any)
		want   string
	}{
		"newer":     {func(m map[string]any) { m["version"] = 2 }, "version 2, this vic reads 1"},
		"no number": {func(m map[string]any) { m["version"] = "1" }, "decode "},
		"leads out": {func(m map[string]any) { m["files"] = []any{map[string]any{"name": "../x"}} }, `verify "../x": the name leads out of `},
		"absolute":  {func(m map[string]any) { m["files"] = []any{map[string]any{"name": "/etc/passwd"}} }, "leads out of "},
		"itself":    {func(m map[string]any) { m["files"] = []any{map[string]any{"name": ".."}} }, ""},
		"gone":      {func(m map[string]any) { m["files"] = []any{map[string]any{"name": "x"}} }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := artefact(t, nil)
			doc, err := os.ReadFile(filepath.Join(dir, BundleFile))
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := json.Unmarshal(doc, &m); err != nil {
				t.Fatal(err)
			}
			tt.change(m)
			if err := (output{dir}).writeManifest(BundleFile, m); err != nil {
				t.Fatal(err)
			}
			_, err = OpenBundle(dir)
			wantError(t, err, tt.want)
		})
	}
	if _, err := OpenPayload(t.TempDir()); !errors.Is(err, ErrNotArtefact) {
		t.Errorf("got %v", err)
	}
	if _, err := Size(t.TempDir()); !errors.Is(err, ErrNotArtefact) {
		t.Errorf("got %v", err)
	}
}
