package vm

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/victorinix/vic/internal/tool"
)

// prepare decides what depends on this machine, and makes the files in c.Dir
// that a run needs.
func prepare(ctx context.Context, h host, c Config) (setup, error) {
	s := setup{Config: c}
	var err error
	if s.qemu, err = h.emulator(c.Arch); err != nil {
		return s, err
	}
	if err := s.firmware(h); err != nil {
		return s, err
	}
	if err := s.checkFiles(); err != nil {
		return s, err
	}
	if err := s.joinInitrd(); err != nil {
		return s, err
	}
	if err := s.openDisks(ctx, h); err != nil {
		return s, err
	}
	if err := s.writeCredentials(); err != nil {
		return s, err
	}
	if err := s.writeOnboard(); err != nil {
		return s, err
	}
	if s.accel = c.Accel; s.accel == "" {
		s.accel = accelFor(ctx, c.Arch)
	}
	if s.accel == "tcg" && s.Arch == "amd64" {
		// With two, a boot was seen to die of "Oops: int3" (QEMU 7.2). Linux changes
		// its own code while it runs, by way of that instruction; presumably the
		// emulation lets another processor run what was there before.
		s.CPUs = 1
	}
	return s, ctx.Err()
}

// firmware finds code and makes variable store for UEFI.
func (s *setup) firmware(h host) error {
	if s.Firmware != "uefi" {
		return nil
	}
	f, err := h.firmware(s.Arch)
	if err != nil {
		return err
	}
	s.code, s.vars = f.code, s.Vars
	if s.vars == "" {
		s.vars = s.temp("vars.fd")
	}
	s.template = f.vars
	return makeVars(s.vars, f.vars)
}

// checkFiles finds absent files before QEMU does, and says whose they are.
func (s *setup) checkFiles() error {
	files := append([]string(nil), s.Initrd...)
	if s.Kernel != "" {
		files = append(files, s.Kernel)
	}
	if s.DeviceTree != "" {
		files = append(files, s.DeviceTree)
	}
	for _, d := range s.Disks {
		files = append(files, d.Path)
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("prepare machine %s: %w", s.Name, err)
		}
	}
	return nil
}

// temp is a file in the run folder that goes when the run ends.
func (s *setup) temp(name string) string { return filepath.Join(s.Dir, tempPrefix+name) }

// tempPrefix marks what the end of a run removes from its folder.
const tempPrefix = "run."

// joinInitrd makes one file of several. The kernel looks for an uncompressed
// archive only at multiples of 4 bytes, and skips zeros between archives.
func (s *setup) joinInitrd() (err error) {
	if len(s.Initrd) < 2 {
		s.initrd = strings.Join(s.Initrd, "")
		return nil
	}
	s.initrd = s.temp("initrd")
	out, err := os.OpenFile(s.initrd, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("join initrd files: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, name := range s.Initrd {
		n, err := appendFile(out, name)
		if err == nil {
			_, err = out.Write(make([]byte, -n&3))
		}
		if err != nil {
			return fmt.Errorf("join initrd files: %w", err)
		}
	}
	return nil
}

func appendFile(w io.Writer, name string) (int64, error) {
	in, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	return io.Copy(w, in)
}

// openDisks finds formats and makes the overlays of snapshots.
func (s *setup) openDisks(ctx context.Context, h host) error {
	s.disks, s.backing = make([]image, len(s.Disks)), make([]image, len(s.Disks))
	for i, d := range s.Disks {
		img := image{d.Path, d.Format}
		if img.format == "" {
			var err error
			if img.format, err = detectFormat(d.Path); err != nil {
				return err
			}
		}
		if d.Snapshot {
			over := s.temp(fmt.Sprintf("disk%d.qcow2", i))
			if err := overlay(ctx, h, over, img); err != nil {
				return err
			}
			s.backing[i], img = img, image{over, "qcow2"}
		}
		if d.LogWrites != "" {
			f, err := os.OpenFile(d.LogWrites, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				return fmt.Errorf("log writes to disk %s: %w", d.Path, err)
			}
		}
		s.disks[i] = img
	}
	return nil
}

// detectFormat tells qcow2 by its magic (docs/interop/qcow2.txt) from raw.
func detectFormat(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("detect format of disk: %w", err)
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	switch {
	case err == nil && bytes.Equal(magic[:], []byte("QFI\xfb")):
		return "qcow2", nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "raw", nil
	}
	return "", fmt.Errorf("detect format of disk: %w", err)
}

func overlayCmd(qemuImg, path string, backing image) tool.Cmd {
	return tool.Cmd{Name: qemuImg, Args: []string{"create", "-q", "-f", "qcow2", "-F", backing.format, "-b", backing.path, path}}
}

func overlay(ctx context.Context, h host, path string, backing image) error {
	img, err := h.imageTool()
	if err != nil {
		return err
	}
	if _, err := h.exec.Run(ctx, overlayCmd(img, path, backing)); err != nil {
		return fmt.Errorf("make overlay of %s: %w", backing.path, err)
	}
	return nil
}

// writeCredentials writes one SMBIOS string per file, by name.
func (s *setup) writeCredentials() error {
	for i, name := range slices.Sorted(maps.Keys(s.Credentials)) {
		file := s.temp(fmt.Sprintf("credential%d", i))
		if err := os.WriteFile(file, []byte(smbiosString(name, s.Credentials[name])), 0o600); err != nil {
			return fmt.Errorf("hand over credential %s: %w", name, err)
		}
		s.creds = append(s.creds, file)
	}
	return nil
}

// smbiosString is a credential as systemd reads it: as text where the value is
// text, and otherwise in base64.
func smbiosString(name, value string) string {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	if utf8.ValidString(value) && !strings.ContainsFunc(value, control) {
		return "io.systemd.credential:" + name + "=" + value
	}
	return "io.systemd.credential.binary:" + name + "=" + base64.StdEncoding.EncodeToString([]byte(value))
}
