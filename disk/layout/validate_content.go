package layout

import (
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/nearest"
)

// formats are the file systems that can be made.
var formats = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "exfat"}

// foreign are those that can be kept and mounted, but not made.
var foreign = []string{"ntfs", "ntfs3", "hfsplus", "jfs", "nilfs2", "reiserfs", "udf", "iso9660", "msdos"}

// content checks what a device holds, by its type.
func (c *check) content(s site) {
	switch t := s.spec().(type) {
	case *GPT:
		c.tableOn(s)
		c.gpt(s, t)
	case *MBR:
		c.tableOn(s)
		c.mbr(s, t)
	case *Filesystem:
		c.filesystem(s, t)
	case *Btrfs:
		c.btrfs(s, t)
	case *Swap:
		c.swap(s, t)
	case *LUKS:
		c.luks(s, t)
	}
	if whole, ok := member(s.spec()); ok {
		c.member(s, whole)
	}
}

// tableOn: disko has no tables in partitions and volumes, and the kernel does
// not look for one in a mapped device.
func (c *check) tableOn(s site) {
	if s.on != onDisk && s.on != onArray {
		c.fail(s.path+".type", "a partition table can stand on a disk or an array only: in its place use lvm_pv")
	}
}

func (c *check) filesystem(s site, f *Filesystem) {
	at, known := s.path, formats
	if s.kept() {
		known = slices.Concat(formats, foreign)
	}
	switch {
	case f.Format == "":
		c.fail(at, "format is missing, expected %s", strings.Join(formats, " or "))
	case slices.Contains(known, f.Format):
	case slices.Contains(foreign, f.Format):
		c.fail(at+".format", "vic does not make %s: it can be mounted where it is kept (keep: true)", f.Format)
	default:
		c.fail(at+".format", "unknown file system %q", f.Format).Nearest = nearest.Name(f.Format, known)
	}
	c.identity(at+".extraArgs", f.Format, f.ExtraArgs)
	c.options(at+".mountOptions", f.MountOptions)
	c.mountpoint(at, f.Mountpoint)
}

// identity checks the UUID and the label among the arguments of a mkfs.
func (c *check) identity(at, format string, args []string) {
	id, err := split(format, args)
	if err != nil {
		c.fail(at, "%v", err)
		return
	}
	c.once(c.guids, at, "UUID", strings.ToLower(id.UUID))
}

func (c *check) btrfs(s site, b *Btrfs) {
	at := s.path
	c.identity(at+".extraArgs", "btrfs", b.ExtraArgs)
	c.options(at+".mountOptions", b.MountOptions)
	c.mountpoint(at, b.Mountpoint)
	paths := map[string]string{}
	c.swapFiles(at+".swap", b.Swap, "", paths)
	for _, key := range sortedKeys(b.Subvolumes) {
		v, at := b.Subvolumes[key], at+".subvolumes."+key
		name := c.subvolume(at, key, v, "btrfs_subvol", paths)
		c.swapFiles(at+".swap", v.Swap, name, paths)
	}
}

// subvolume checks one and returns its path within the file system.
func (c *check) subvolume(at, key string, v Subvolume, kind string, paths map[string]string) string {
	c.oneOf(at+".type", "type", v.Type, kind)
	name := strings.Trim(or(v.Name, key), "/")
	if !plain(name) {
		c.fail(at+".name", "expected a plain path within the file system, got %q", or(v.Name, key))
	}
	c.once(paths, at, "path in the file system", name)
	c.options(at+".mountOptions", v.MountOptions)
	c.mountpoint(at, v.Mountpoint)
	return name
}

// plain says whether a relative path has nothing special in it.
func plain(p string) bool {
	for _, part := range strings.Split(p, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\x00\n") {
			return false
		}
	}
	return true
}

var swapSize = lazyregexp.New(`^[0-9]+[KMGTP]$`)

func (c *check) swapFiles(at string, files map[string]SwapFile, in string, paths map[string]string) {
	for _, key := range sortedKeys(files) {
		f, at := files[key], at+"."+key
		c.oneOf(at+".type", "type", f.Type, "btrfs_swap")
		switch {
		case f.Size == "":
			c.fail(at, "size is missing")
		case !swapSize.MatchString(f.Size):
			c.fail(at+".size", "read size %q: expected a number with K, M, G, T or P, such as 2G", f.Size)
		}
		name := or(f.Path, key)
		if !plain(name) {
			c.fail(at+".path", "expected a plain path within the subvolume, got %q", name)
		}
		c.once(paths, at, "path in the file system", strings.Trim(in+"/"+name, "/"))
		c.swapOptions(at, f.DiscardPolicy, f.Priority, f.Options, "options")
	}
}

func (c *check) swap(s site, w *Swap) {
	c.identity(s.path+".extraArgs", "swap", w.ExtraArgs)
	c.swapOptions(s.path, w.DiscardPolicy, w.Priority, w.MountOptions, "mountOptions")
	if !w.ResumeDevice {
		return
	}
	if w.RandomEncryption {
		c.fail(s.path+".resumeDevice", "swap with a random key cannot be resumed from: the key is gone")
	}
	if c.resume != "" {
		c.fail(s.path+".resumeDevice", "a machine resumes from one device, and that is %s already", c.resume)
	}
	c.resume = s.path
}

func (c *check) swapOptions(at, discard string, priority *int, options []string, key string) {
	c.oneOf(at+".discardPolicy", "policy", discard, "once", "pages", "both")
	if priority != nil && (*priority < 0 || *priority > 32767) {
		c.fail(at+".priority", "expected 0 to 32767, got %d", *priority)
	}
	c.options(at+"."+key, options)
}

func (c *check) luks(s site, k *LUKS) {
	at := s.path
	switch {
	case k.Name == "":
		c.fail(at, "name is missing: what the opened container is called in /dev/mapper")
	case strings.Contains(k.Name, "/") || k.Name == "control" || len(k.Name) > 127:
		c.fail(at+".name", "expected a file name of at most 127 bytes, got %q", k.Name)
	default:
		c.once(c.mappers, at+".name", "name", k.Name)
	}
	if k.AskPassword != nil && !*k.AskPassword && k.PasswordFile == "" && k.KeyFile == "" && k.Settings.KeyFile == "" {
		c.fail(at+".askPassword", "there is no key: with askPassword false, passwordFile or settings.keyFile has to name one")
	}
	c.absolute(at+".passwordFile", k.PasswordFile)
	c.absolute(at+".keyFile", k.KeyFile)
	c.absolute(at+".settings.keyFile", k.Settings.KeyFile)
	c.absolute(at+".settings.header", k.Settings.Header)
	for _, f := range k.AdditionalKeyFiles {
		c.absolute(at+".additionalKeyFiles", f)
	}
	for key, n := range map[string]int{"keyFileSize": k.Settings.KeyFileSize, "keyFileOffset": k.Settings.KeyFileOffset, "keyFileTimeout": k.Settings.KeyFileTimeout} {
		if n < 0 {
			c.fail(at+".settings."+key, "expected a number from 0, got %d", n)
		}
	}
	c.luksRefused(at, k)
}

// luksRefused names what disko can do and vic cannot.
func (c *check) luksRefused(at string, k *LUKS) {
	for _, r := range []struct {
		key string
		set bool
		why string
	}{
		{"enrollFido2", k.EnrollFIDO2, "vic does not enroll FIDO2 tokens"},
		{"enrollRecovery", k.EnrollRecovery, "vic does not enroll recovery keys: use additionalKeyFiles"},
		{"extraFido2EnrollArgs", len(k.EnrollFIDO2Args) > 0, "vic does not enroll FIDO2 tokens"},
		{"settings.preOpenCommands", k.Settings.PreOpenCommands != "", "commands of NixOS's initramfs are not run by other systems"},
		{"settings.postOpenCommands", k.Settings.PostOpenCommands != "", "commands of NixOS's initramfs are not run by other systems"},
	} {
		if r.set {
			c.fail(at+"."+r.key, "%s", r.why)
		}
	}
}
