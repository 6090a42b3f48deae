package builder

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// rootfs turns the tar that mmdebstrap wrote into the payload's tree: without
// what belongs to the build machine or to one installed machine, with the same
// time stamps always, and with an account of which package each byte is from.
type rootfs struct {
	time time.Time
	// links are symbolic links to put in place of what mmdebstrap left.
	links map[string]string
	// keep are names that are not dropped; nil: none.
	keep *lazyregexp.Regexp
	// light: nobody asks what the parts weigh.
	light bool

	weigh    weigher
	treeSize int64
	kernels  []string
	parts    map[string]*Part // by package name
	owner    map[string]string
	versions map[string]string
}

// dropped is what mmdebstrap copies from the build machine, what belongs to
// one installed machine, and caches that carry times.
var dropped = lazyregexp.New(`^(` + strings.Join([]string{
	`etc/(hostname|resolv\.conf|machine-id|mailname)`,
	`etc/\.(pwd\.lock|resolv\.conf\.systemd-resolved\.bak)`,
	// Options of the build, force-unsafe-io among them.
	`etc/(apt/apt\.conf\.d|dpkg/dpkg\.cfg\.d)/99mmdebstrap`,
	`etc/apt/sources\.list`,
	`etc/apt/sources\.list\.d/.+`,
	`etc/ssh/ssh_host_.+`,
	// mdadm's package lists the arrays of the machine that it is installed on.
	`etc/mdadm/mdadm\.conf`,
	`etc/lvm/(archive|backup|cache|devices)/.+`,
	`etc/initramfs-tools/conf\.d/resume`,
	`etc/(passwd|group|shadow|gshadow|subuid|subgid)-`,
	`boot/initrd\.img-.+`,
	`initrd\.img(\.old)?`,
	`var/lib/dbus/machine-id`,
	`var/lib/systemd/random-seed`,
	`var/lib/systemd/credential\.secret`,
	`var/lib/apt/lists/(lock|auxfiles|[^/]*_[^/]*|partial/.+)`, // not partial itself: the package apt has it
	`var/cache/apt/.+\.bin`,
	`var/cache/apt/archives/.+\.deb`,
	`var/cache/debconf/.+-old`,
	`var/cache/ldconfig/aux-cache`,
	`var/cache/man/.+`,
	`var/lib/dpkg/.+-old`,
	`var/lib/initramfs-tools/.+`,
	`var/log/.+\.log`,
	`var/log/(btmp|lastlog|wtmp|faillog)`,
	`(tmp|var/tmp|run|dev|proc|sys)/.+`,
	`.*/__pycache__(/.*)?`,
}, "|") + `)$`)

// inode is what an inode costs on the target beyond its content: ext4's 256
// bytes, and a share of the folder that names it.
const inode = 512

// transform copies a tar stream. It is read twice by the caller's choice of
// seeker: once for the package lists, once for the content.
func (r *rootfs) transform(in io.ReadSeeker, out io.Writer) error {
	if err := r.readPackages(tar.NewReader(in)); err != nil {
		return err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w := tar.NewWriter(out)
	r.parts = map[string]*Part{}
	var err error
	if r.weigh, err = newWeigher(); err != nil {
		return err
	}
	defer r.weigh.enc.Close()
	err = each(tar.NewReader(in), func(name string, h *tar.Header, content io.Reader) error {
		return r.copyEntry(w, name, h, content)
	})
	if err != nil {
		return err
	}
	if err := r.addLinks(w); err != nil {
		return err
	}
	if err := r.addUpdated(w); err != nil {
		return err
	}
	return w.Close()
}

// each calls f for every entry, with a cleaned relative name ("" is the root).
func each(in *tar.Reader, f func(name string, h *tar.Header, content io.Reader) error) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read root tar: %w", err)
		}
		if err := f(strings.TrimPrefix(path.Clean("/"+h.Name), "/"), h, in); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func (r *rootfs) copyEntry(w *tar.Writer, name string, h *tar.Header, content io.Reader) error {
	if _, replaced := r.links[name]; replaced || r.drops(name) {
		return nil
	}
	if release, ok := strings.CutPrefix(name, "boot/vmlinuz-"); ok {
		r.kernels = append(r.kernels, release)
	}
	h.Name = "./" + name
	if h.Typeflag == tar.TypeDir && name != "" {
		h.Name += "/"
	}
	h.Format = tar.FormatPAX
	h.ModTime, h.AccessTime, h.ChangeTime = earlier(h.ModTime, r.time), time.Time{}, time.Time{}
	h.Uname, h.Gname = "", ""
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if r.light {
		_, err := io.Copy(w, content)
		r.account(name, h, 0)
		return err
	}
	weight, err := r.weigh.copy(w, content)
	r.account(name, h, weight)
	return err
}

func (r *rootfs) drops(name string) bool {
	return dropped.MatchString(name) && (r.keep == nil || !r.keep.MatchString(name))
}

// earlier clamps a time, in whole seconds.
func earlier(t, limit time.Time) time.Time {
	if t.After(limit) {
		return limit
	}
	return t.Truncate(time.Second)
}

func (r *rootfs) addLinks(w *tar.Writer) error {
	names := make([]string, 0, len(r.links))
	for name := range r.links {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		h := &tar.Header{Name: "./" + name, Linkname: r.links[name], Typeflag: tar.TypeSymlink, Mode: 0o777, ModTime: r.time, Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// addUpdated says that what systemd would do at the first boot after a change of
// /usr (ldconfig, the catalog of messages, hwdb, sysusers) is done: Debian's
// packages did it. See systemd-update-done.service(8).
func (r *rootfs) addUpdated(w *tar.Writer) error {
	for _, name := range []string{"etc/.updated", "var/.updated"} {
		h := &tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: r.time, Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.account(name, h, 0)
	}
	return nil
}

// account adds an entry to the sizes. weight is its content, compressed.
func (r *rootfs) account(name string, h *tar.Header, weight int64) {
	r.treeSize += inode
	switch h.Typeflag {
	case tar.TypeReg:
		r.treeSize += (h.Size + 4095) &^ 4095
	case tar.TypeDir:
		r.treeSize += 4096
	}
	origin := "vic:generated at build time"
	if pkg := r.owner[name]; pkg != "" {
		origin = "package:" + pkg + "=" + r.versions[pkg]
	}
	p := r.parts[origin]
	if p == nil {
		p = &Part{Origin: origin}
		r.parts[origin] = p
	}
	p.Size, p.Raw, p.Files = p.Size+weight, p.Raw+h.Size, p.Files+1
}

// weights are the parts.
func (r *rootfs) weights() []Part {
	var out []Part
	for _, p := range r.parts {
		out = append(out, *p)
	}
	return out
}

// readPackages learns which package owns which file from dpkg's database.
func (r *rootfs) readPackages(in *tar.Reader) error {
	r.owner, r.versions = map[string]string{}, map[string]string{}
	found := false
	err := each(in, func(name string, h *tar.Header, content io.Reader) error {
		switch dir, file := path.Split(name); {
		case name == "var/lib/dpkg/status":
			found = true
			return r.readStatus(content)
		case dir == "var/lib/dpkg/info/" && strings.HasSuffix(file, ".list"):
			pkg, _, _ := strings.Cut(strings.TrimSuffix(file, ".list"), ":")
			return r.readList(pkg, content)
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New("read root tar: it has no var/lib/dpkg/status: mmdebstrap made no Debian system")
	}
	return err
}

func (r *rootfs) readStatus(in io.Reader) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	pkg := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if v, ok := strings.CutPrefix(line, "Package: "); ok {
			pkg = v
		} else if v, ok := strings.CutPrefix(line, "Version: "); ok {
			r.versions[pkg] = v
		}
	}
	return nil
}

func (r *rootfs) readList(pkg string, in io.Reader) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name := strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "/")
		// Packages that are not yet /usr-merged list /lib/..., the file is
		// in /usr/lib/....
		if top, _, _ := strings.Cut(name, "/"); slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, top) {
			name = "usr/" + name
		}
		r.owner[name] = pkg
	}
	return nil
}
