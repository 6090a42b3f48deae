package builder

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// rootTar is a tar as mmdebstrap writes it. A name that ends in / is a folder,
// "A -> B" a symbolic link, "A = B" a hard link.
func rootTar(t *testing.T, content ...[2]string) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, c := range content {
		h := &tar.Header{Name: "./" + c[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(c[1])), Uname: "builder", Gname: "builder",
			ModTime: time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC), Format: tar.FormatPAX}
		if strings.HasSuffix(c[0], "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if from, to, ok := strings.Cut(c[0], " -> "); ok {
			h.Name, h.Linkname, h.Typeflag, h.Mode = "./"+from, to, tar.TypeSymlink, 0o777
		}
		if from, to, ok := strings.Cut(c[0], " = "); ok {
			h.Name, h.Linkname, h.Typeflag = "./"+from, "./"+to, tar.TypeLink
		}
		switch c[0] {
		case "etc/old":
			h.ModTime = time.Date(2020, 1, 1, 0, 0, 0, 5, time.UTC)
		case "usr/bin/ping":
			h.Mode, h.PAXRecords = 0o755, map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}
		case "etc/shadow":
			h.Mode, h.Gid = 0o640, 42
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, c[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

const dpkgStatus = "Package: bash\nStatus: install ok installed\nVersion: 5.2\n\nPackage: iputils-ping\nVersion: 1:20\n"

// debianTree has something of everything that a payload must not have.
func debianTree(t *testing.T) *bytes.Reader {
	return rootTar(t,
		[2]string{"./", ""}, [2]string{"etc/", ""}, [2]string{"etc/old", "x"}, [2]string{"etc/shadow", "root:*:"}, [2]string{"etc/shadow-", "root:*:"},
		[2]string{"etc/hostname", "build-host\n"}, [2]string{"etc/resolv.conf", "nameserver 192.0.2.1\n"}, [2]string{"etc/machine-id", "0123\n"},
		[2]string{"etc/ssh/", ""}, [2]string{"etc/ssh/ssh_host_ed25519_key", "PRIVATE"}, [2]string{"etc/ssh/ssh_host_ed25519_key.pub", "p"}, [2]string{"etc/ssh/sshd_config", "c"},
		[2]string{"etc/mdadm/", ""}, [2]string{"etc/mdadm/mdadm.conf", "ARRAY /dev/md/build-host:0"}, [2]string{"etc/lvm/", ""}, [2]string{"etc/lvm/lvm.conf", "l"},
		[2]string{"etc/lvm/archive/", ""}, [2]string{"etc/lvm/archive/vg_00000.vg", "creation_host"}, [2]string{"etc/initramfs-tools/conf.d/resume", "RESUME=UUID=1"},
		[2]string{"etc/apt/", ""}, [2]string{"etc/apt/sources.list", "deb copy:/tmp"}, [2]string{"etc/apt/sources.list.d/", ""}, [2]string{"etc/apt/sources.list.d/x.sources", "x"},
		[2]string{"boot/", ""}, [2]string{"boot/vmlinuz-6.12.10-amd64", "kernel"}, [2]string{"boot/initrd.img-6.12.10-amd64", "initrd"},
		[2]string{"bin -> usr/bin", ""}, [2]string{"usr/", ""}, [2]string{"usr/bin/", ""}, [2]string{"usr/bin/bash", strings.Repeat("b", 5000)},
		[2]string{"usr/bin/rbash = usr/bin/bash", ""}, [2]string{"usr/bin/ping", "ping"},
		[2]string{"usr/lib/python3/__pycache__/", ""}, [2]string{"usr/lib/python3/__pycache__/a.pyc", "c"},
		[2]string{"var/lib/dpkg/", ""}, [2]string{"var/lib/dpkg/status", dpkgStatus}, [2]string{"var/lib/dpkg/status-old", "old"},
		[2]string{"var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n/usr/bin/rbash\n"}, [2]string{"var/lib/dpkg/info/iputils-ping:amd64.list", "/usr/bin/ping\n"},
		[2]string{"var/lib/systemd/random-seed", "seed"}, [2]string{"var/lib/dbus/machine-id -> /etc/machine-id", ""},
		[2]string{"var/cache/apt/pkgcache.bin", "c"}, [2]string{"var/cache/apt/archives/", ""}, [2]string{"var/cache/apt/archives/bash.deb", "d"},
		[2]string{"var/lib/apt/lists/x_Packages", "p"}, [2]string{"var/log/dpkg.log", "l"}, [2]string{"var/log/journal/", ""},
		[2]string{"tmp/", ""}, [2]string{"tmp/leftover", "x"}, [2]string{"dev/", ""}, [2]string{"dev/null", ""}, [2]string{"run/", ""}, [2]string{"run/lock/", ""},
	)
}

// listing shows what matters of a tar, a line an entry.
func listing(t *testing.T, in io.Reader) string {
	t.Helper()
	var b strings.Builder
	r := tar.NewReader(in)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%v %d:%d%s%s %d %s %s", h.FileInfo().Mode(), h.Uid, h.Gid, h.Uname, h.Gname, h.Size, h.ModTime.UTC().Format(time.RFC3339Nano), h.Name)
		if h.Linkname != "" {
			fmt.Fprintf(&b, " -> %s", h.Linkname)
		}
		for k, v := range h.PAXRecords {
			if strings.HasPrefix(k, "SCHILY.xattr.") {
				fmt.Fprintf(&b, " %s=%q", k, v)
			}
		}
		b.WriteByte('\n')
	}
}

func TestTransform(t *testing.T) {
	var first, second bytes.Buffer
	r := rootfs{time: DefaultTime, links: map[string]string{"etc/resolv.conf": "../run/stub"}}
	if err := r.transform(debianTree(t), &first); err != nil {
		t.Fatal(err)
	}
	golden(t, "rootfs.golden", listing(t, bytes.NewReader(first.Bytes())))
	again := rootfs{time: DefaultTime, links: map[string]string{"etc/resolv.conf": "../run/stub"}}
	if err := again.transform(debianTree(t), &second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("two runs differ: %v", err)
	}
	if fmt.Sprint(r.kernels) != "[6.12.10-amd64]" {
		t.Errorf("kernels: %v", r.kernels)
	}
}

func TestTransformAccountsForEveryByte(t *testing.T) {
	var out bytes.Buffer
	r := rootfs{time: DefaultTime}
	if err := r.transform(debianTree(t), &out); err != nil {
		t.Fatal(err)
	}
	sizes := map[string]Part{}
	var sum, want int64
	for _, p := range r.weights() {
		sizes[p.Origin] = p
		sum += p.Raw
	}
	entries, rounded := int64(0), int64(0)
	in := tar.NewReader(&out)
	for h, err := in.Next(); err != io.EOF; h, err = in.Next() {
		if err != nil {
			t.Fatal(err)
		}
		want += h.Size
		entries++
		rounded += (h.Size + 4095) &^ 4095
		if h.Typeflag == tar.TypeDir {
			rounded += 4096
		}
	}
	if sum != want {
		t.Errorf("the parts have %d bytes, the tree %d", sum, want)
	}
	if r.treeSize != rounded+entries*inode {
		t.Errorf("treeSize %d, want %d", r.treeSize, rounded+entries*inode)
	}
	// 5000 equal letters weigh less than what cannot be compressed.
	if p := sizes["package:bash=5.2"]; p.Size == 0 || p.Size > 100 {
		t.Errorf("bash weighs %d", p.Size)
	}
	// /bin/bash of the list is /usr/bin/bash; the hard link costs nothing.
	if p := sizes["package:bash=5.2"]; p.Raw != 5000 || p.Files < 2 {
		t.Errorf("bash: %+v", p)
	}
	if p := sizes["package:iputils-ping=1:20"]; p.Raw != 4 || p.Files != 1 {
		t.Errorf("ping: %+v", p)
	}
}

func TestTransformRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		in   io.ReadSeeker
		want string
	}{
		"no dpkg":   {rootTar(t, [2]string{"etc/", ""}), "it has no var/lib/dpkg/status"},
		"no tar":    {strings.NewReader(strings.Repeat("x", 1024)), "read root tar"},
		"truncated": {io.NewSectionReader(debianTree(t), 0, 12_000), "read root tar"},
		"empty":     {strings.NewReader(""), "it has no var/lib/dpkg/status"},
	} {
		r := rootfs{time: DefaultTime}
		t.Run(name, func(t *testing.T) { wantError(t, r.transform(tt.in, io.Discard), tt.want) })
	}
}
