package envscan

import (
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// follow resolves the links of a path within the scanned system: those of a
// captured tree may be absolute.
func (s *scanner) follow(name string) (string, error) {
	rest, done := strings.Split(strings.Trim(name, "/"), "/"), "/"
	for links := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		rest = rest[1:]
		target, err := s.root.Readlink(next)
		switch {
		case err != nil:
			if _, err := os.Lstat(s.root.Path(next)); err != nil {
				return "", err
			}
			done = next
			continue
		case links == 40: // as the kernel
			return "", errors.New("too many levels of links")
		case path.IsAbs(target):
			done = "/"
		}
		links++
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
	}
	return done, nil
}

// libc tells the C library by the loader that the shell asks for. A static shell
// asks for none; then by the loaders that are there.
func (s *scanner) libc() string {
	const fact, shell = "os.libc", "/bin/sh"
	file, err := s.follow(shell)
	if err == nil {
		var loader string
		loader, err = interpreter(s.root.Path(file))
		if name := libcOf(loader); name != "" {
			return name
		}
	}
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib"} {
		names, err := s.root.Names(dir)
		s.gap(fact, dir, err)
		for _, name := range names {
			if libc := libcOf(name); libc != "" {
				return libc
			}
		}
	}
	if errors.Is(err, fs.ErrNotExist) && !s.live {
		err = errNoFile
	}
	s.gap(fact, shell, err)
	return ""
}

func libcOf(loader string) string {
	switch name := filepath.Base(loader); {
	case strings.HasPrefix(name, "ld-musl-"):
		return "musl"
	case strings.HasPrefix(name, "ld-linux"), strings.HasPrefix(name, "ld64.so"):
		return "glibc"
	}
	return ""
}

// interpreter is the loader that an ELF program names; empty: it is static, or a
// script.
func interpreter(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	program, err := elf.NewFile(f)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, p := range program.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return "", err
		}
		return strings.TrimRight(string(b), "\x00"), nil
	}
	return "", nil
}

// init names PID 1 by its program, which only root may see, or else by its name
// and the file that the kernel starts.
func (s *scanner) init() (name, version string) {
	const fact = "os.init"
	exe, err := s.root.Readlink("proc/1/exe")
	comm := s.text(fact, "/proc/1/comm")
	if err != nil && (comm == "" || comm == "init") {
		var other error
		if exe, other = s.follow("/sbin/init"); other != nil && comm == "" {
			s.gap(fact, "/proc/1/exe", err)
			return "", ""
		}
	}
	exe = strings.TrimSuffix(exe, " (deleted)") // upgraded since
	name = filepath.Base(exe)
	if name == "." || name == "/" || name == "exe" {
		name = comm
	}
	if name == "init" && s.exists("/etc/inittab") {
		name = "sysvinit"
	}
	if name == "systemd" {
		version = s.systemdVersion(exe)
	}
	return name, version
}

// sharedLibrary is that of systemd's programs, which has its version in its name
// so that an old program finds the old one during an upgrade.
var sharedLibrary = lazyregexp.New(`^libsystemd-shared-([0-9]+)`)

// systemdVersion looks for the library beside systemd, and where distributions
// keep it.
func (s *scanner) systemdVersion(exe string) string {
	dirs := []string{"/usr/lib/systemd", "/lib/systemd", "/run/current-system/systemd/lib/systemd"}
	if filepath.IsAbs(exe) { // root knows
		dirs = append([]string{filepath.Dir(exe)}, dirs...)
	}
	arches, err := s.root.Names("usr/lib")
	s.gap("os.initVersion", "/usr/lib", err)
	for _, name := range arches {
		if strings.HasSuffix(name, "-linux-gnu") {
			dirs = append(dirs, "/usr/lib/"+name+"/systemd")
		}
	}
	for _, dir := range dirs {
		names, err := s.root.Names(dir)
		s.gap("os.initVersion", dir, err)
		slices.Reverse(names) // the newest of several
		for _, name := range names {
			if m := sharedLibrary.FindStringSubmatch(name); m != nil {
				return m[1]
			}
		}
	}
	return ""
}
