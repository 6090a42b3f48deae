package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/victorinix/vic/initramfs/programs"
)

// generator makes the programs of one architecture.
type generator struct {
	arch, out       string
	initPkg, envPkg string
	appliancePkg    string
	force           bool
}

func (g generator) file(name, ext string) string {
	return filepath.Join(g.out, name+"-"+g.arch+ext)
}

// run reports whether it made the programs anew.
func (g generator) run() (bool, error) {
	pkgs := packages(g.initPkg)
	key, goVersion, err := g.key()
	if err != nil {
		return false, err
	}
	if !g.force && g.current(key) {
		return false, nil
	}
	tmp, err := os.MkdirTemp("", "vic-programs-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(tmp)
	m := programs.Manifest{Key: key, Go: goVersion, Commands: names(pkgs)}
	sort.Strings(m.Commands)
	if err := g.compile(tmp, pkgs); err != nil {
		return false, err
	}
	var work errgroup.Group // each is work for one processor
	for i, p := range []*programs.Program{&m.Init, &m.Env, &m.Appliance} {
		work.Go(func() (err error) {
			*p, err = pack(g.elf(tmp, made()[i]), g.file(made()[i], ".zst"))
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return false, err
	}
	return true, g.writeManifest(m)
}

// made are the names of the programs.
func made() []string { return []string{"init", "env", "appliance"} }

// compile makes the programs in the folder dir.
//
// Two runs of the go command side by side compile twice what they share, and
// with an empty cache that is nearly everything. So one makes vic-env and
// vic-appliance, while the commands of the busybox are rewritten; the busybox
// finds most of what it needs in the cache then.
func (g generator) compile(dir string, commands []string) error {
	var overlay string
	var work errgroup.Group
	work.Go(func() (err error) {
		overlay, err = rewriteCommands(g.arch, commands, filepath.Join(dir, "busybox"))
		return err
	})
	work.Go(func() error { return buildStatic(g.arch, dir, g.envPkg, g.appliancePkg) })
	if err := work.Wait(); err != nil {
		return err
	}
	return buildBusybox(g.arch, overlay, g.elf(dir, "init"))
}

// elf is the program name that compile made in dir.
func (g generator) elf(dir, name string) string {
	switch name {
	case "env":
		name = path.Base(g.envPkg)
	case "appliance":
		name = path.Base(g.appliancePkg)
	}
	return filepath.Join(dir, name)
}

// key is what the programs depend on.
func (g generator) key() (key, goVersion string, err error) {
	key, goVersion, err = inputsKey(g.arch, append([]string{g.envPkg, g.appliancePkg}, packages(g.initPkg)...))
	if err != nil {
		return "", "", fmt.Errorf("find inputs: %w", err)
	}
	return key, goVersion, nil
}

// discardOld removes programs that are not up to date, so that none of them is
// embedded beside new ones, and reports whether there were any.
func (g generator) discardOld() (bool, error) {
	manifest := g.file("programs", ".json")
	if _, err := os.Stat(manifest); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	key, _, err := g.key()
	if err != nil || g.current(key) {
		return false, err
	}
	err = os.Remove(manifest) // the first to go: without it the others do not count
	for _, name := range made() {
		if e := os.Remove(g.file(name, ".zst")); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return true, err
}

// current reports whether the programs that are there were made from key.
func (g generator) current(key string) bool {
	b, err := os.ReadFile(g.file("programs", ".json"))
	if err != nil {
		return false
	}
	var m programs.Manifest
	if json.Unmarshal(b, &m) != nil || m.Key != key {
		return false
	}
	for _, name := range made() {
		if _, err := os.Stat(g.file(name, ".zst")); err != nil {
			return false
		}
	}
	return true
}

// writeManifest comes last: without it the programs do not count as made.
func (g generator) writeManifest(m programs.Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return replace(g.file("programs", ".json"), append(b, '\n'))
}

// pack compresses the file elf to out.
func pack(elf, out string) (programs.Program, error) {
	b, err := os.ReadFile(elf)
	if err != nil {
		return programs.Program{}, err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstd.MaxWindowSize>>6))
	if err != nil {
		return programs.Program{}, err
	}
	sum := sha256.Sum256(b)
	p := programs.Program{Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
	return p, replace(out, enc.EncodeAll(b, nil))
}

// replace writes a file so that a reader sees the old one or the new one.
func replace(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(b); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
