// Package debtest writes small signed Debian archives, for tests of what uses
// builder/deb. The result is a folder for a file: mirror.
//
//	DIR/dists/SUITE/InRelease
//	DIR/dists/SUITE/main/binary-ARCH/Packages
//	DIR/pool/NAME_VERSION_ARCH.deb
//	DIR/keyring.gpg
package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Archive is one suite for one architecture.
type Archive struct {
	Suite, Arch string
	Packages    []Package
	ValidUntil  time.Time // zero: in a week
	Unsigned    bool      // InRelease is plain text
}

// Package is a .deb to be made.
type Package struct {
	Name    string
	Version string // empty: 1.0
	Control string // further fields, a line each
	// Files are regular files by name; one that ends in " -> TARGET" is a
	// symbolic link, and its content is not looked at. Folders are added.
	Files map[string]string
}

// Keyring is the name of the keyring below the folder.
const Keyring = "keyring.gpg"

// Write makes the archive below dir, signed by a new key.
func (a Archive) Write(dir string) error {
	var index strings.Builder
	for _, p := range a.Packages {
		control, content, err := p.build(a.Arch)
		if err != nil {
			return fmt.Errorf("make package %s: %w", p.Name, err)
		}
		file := "pool/" + p.Name + "_" + p.version() + "_" + a.Arch + ".deb"
		if err := write(dir, file, content); err != nil {
			return err
		}
		fmt.Fprintf(&index, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", control, file, len(content), sha256.Sum256(content))
	}
	name := "main/binary-" + a.Arch + "/Packages"
	if err := write(dir, "dists/"+a.Suite+"/"+name, []byte(index.String())); err != nil {
		return err
	}
	if err := write(dir, "dists/"+a.Suite+"/non-free-firmware/binary-"+a.Arch+"/Packages", []byte(noPackages)); err != nil {
		return err
	}
	release, keyring, err := a.sign(a.release(name, []byte(index.String())))
	if err != nil {
		return fmt.Errorf("sign InRelease: %w", err)
	}
	if err := write(dir, "dists/"+a.Suite+"/InRelease", release); err != nil {
		return err
	}
	return write(dir, Keyring, keyring)
}

// noPackages is the index of a component that is empty.
const noPackages = "\n"

func (a Archive) release(name string, packages []byte) string {
	until := a.ValidUntil
	if until.IsZero() {
		until = time.Now().AddDate(0, 0, 7)
	}
	return fmt.Sprintf("Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\nValid-Until: %s\nAcquire-By-Hash: no\n"+
		"No-Support-for-Architecture-all: Packages\nArchitectures: all %s\nComponents: main non-free-firmware\nSHA256:\n %x %d %s\n %x %d non-free-firmware/binary-%s/Packages\n",
		a.Suite, a.Suite, rfc1123(until.AddDate(0, 0, -8)), rfc1123(until), a.Arch,
		sha256.Sum256(packages), len(packages), name, sha256.Sum256([]byte(noPackages)), len(noPackages), a.Arch)
}

func rfc1123(t time.Time) string { return t.UTC().Format(time.RFC1123) }

// sign returns InRelease and the keyring with the public key.
func (a Archive) sign(text string) (release, keyring []byte, err error) {
	then := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Now().AddDate(-1, 0, 0) }}
	key, err := openpgp.NewEntity("Test", "", "test@example.org", then)
	if err != nil {
		return nil, nil, err
	}
	var ring, out bytes.Buffer
	if err := key.Serialize(&ring); err != nil || a.Unsigned {
		return []byte(text), ring.Bytes(), err
	}
	w, err := clearsign.Encode(&out, key.PrivateKey, &packet.Config{Time: func() time.Time { return time.Now().Add(-time.Minute) }})
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return nil, nil, err
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), ring.Bytes(), nil
}

func write(dir, name string, data []byte) error {
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

func (p Package) version() string {
	if p.Version == "" {
		return "1.0"
	}
	return p.Version
}

// build makes the .deb (deb(5)).
func (p Package) build(arch string) (control string, content []byte, err error) {
	control = "Package: " + p.Name + "\nVersion: " + p.version() + "\nArchitecture: " + arch +
		"\nMaintainer: test\nDescription: test\n"
	if p.Control != "" {
		control += strings.TrimSpace(p.Control) + "\n"
	}
	meta, err := archive(map[string]string{"control": control})
	if err != nil {
		return "", nil, err
	}
	data, err := archive(p.Files)
	if err != nil {
		return "", nil, err
	}
	out := bytes.NewBufferString("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", meta}, {"data.tar.gz", data}} {
		fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		out.Write(m.data)
		if len(m.data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return control, out.Bytes(), nil
}

// archive is a tar.gz of the files, with their folders before them.
func archive(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := addFolders(w, made, name); err != nil {
			return nil, err
		}
		if err := addFile(w, name, files[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func addFolders(w *tar.Writer, made map[string]bool, name string) error {
	dir := path.Dir(name)
	if dir == "." || made[dir] {
		return nil
	}
	if err := addFolders(w, made, dir); err != nil {
		return err
	}
	made[dir] = true
	return w.WriteHeader(&tar.Header{Name: "./" + dir + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(1700000000, 0)})
}

func addFile(w *tar.Writer, name, data string) error {
	h := &tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(data)), ModTime: time.Unix(1700000000, 0)}
	if from, to, ok := strings.Cut(name, " -> "); ok {
		h.Name, h.Linkname, h.Typeflag, h.Size, data = "./"+from, to, tar.TypeSymlink, 0, ""
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.WriteString(w, data)
	return err
}
