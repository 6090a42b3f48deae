package storage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Boot is what an installed Debian has to know to find its disks again.
type Boot struct {
	// Root is the value of root= on the kernel command line: "UUID=...".
	Root string `json:"root"`
	// Cmdline are further parameters: resume=UUID=..., rootflags=subvol=....
	Cmdline []string `json:"cmdline,omitempty"`
	// Files of the target, by absolute path: /etc/fstab, /etc/crypttab,
	// /etc/mdadm/mdadm.conf, /etc/initramfs-tools/conf.d/resume, ....
	Files map[string]string `json:"files"`
	// Keys are key files to be put into the target, readable by root alone:
	// crypttab names them. The values say which secret's bytes they hold.
	Keys map[string]KeyFile `json:"keys,omitempty"`
}

func (w *walker) boot() Boot {
	b := Boot{Files: map[string]string{"/etc/fstab": w.fstab()}, Keys: map[string]KeyFile{}}
	root := w.plan.Find("/")
	if root == nil {
		return b
	}
	b.Root = source(*root)
	if root.FSType == "btrfs" {
		for _, o := range root.Options {
			if strings.HasPrefix(o, "subvol=") {
				b.Cmdline = append(b.Cmdline, "rootflags="+o)
			}
		}
	}
	// Without an answer initramfs-tools takes the largest swap it sees when it
	// makes the initramfs: that of the RAM system, or of another disk.
	resume := "none"
	if at := slices.IndexFunc(w.swaps, func(s swap) bool { return s.resume }); at >= 0 {
		resume = w.swaps[at].source()
		b.Cmdline = append(b.Cmdline, "resume="+resume)
	}
	b.Files["/etc/initramfs-tools/conf.d/resume"] = "RESUME=" + resume + "\n"
	if text := w.crypttab(b.Keys); text != "" {
		b.Files["/etc/crypttab"] = text
	}
	if len(b.Keys) > 0 {
		// initramfs.conf of cryptsetup-initramfs, and the image that the keys of
		// containers needed at boot get into.
		b.Files["/etc/cryptsetup-initramfs/conf-hook"] = "KEYFILE_PATTERN=/etc/cryptsetup-keys.d/*.key\n"
		b.Files["/etc/initramfs-tools/conf.d/umask"] = "UMASK=0077\n"
	}
	if text := w.mdadmConf(); text != "" {
		b.Files["/etc/mdadm/mdadm.conf"] = text
	}
	return b
}

// source is how fstab and the kernel command line name a file system.
func source(f Filesystem) string {
	switch {
	case f.Source != "":
		return f.Source
	case f.Device.Array == "" && f.Device.VG != "":
		// initramfs-tools activates the volumes that it is named.
		return f.Device.node()
	case f.UUID != "":
		return "UUID=" + f.UUID
	}
	return f.Device.node()
}

// node is the path of a device in a running system with udev.
func (d Device) node() string {
	switch {
	case d.Mapper != "":
		return "/dev/mapper/" + d.Mapper
	case d.VG != "":
		return "/dev/mapper/" + strings.ReplaceAll(d.VG, "-", "--") + "-" + strings.ReplaceAll(d.LV, "-", "--")
	case d.Array != "" && d.Partition > 0:
		return fmt.Sprintf("/dev/md/%s%d", d.Array, d.Partition)
	case d.Array != "":
		return "/dev/md/" + d.Array
	case d.Zvol != "":
		return "/dev/zvol/" + d.Zvol
	}
	return ""
}

func (s swap) source() string {
	switch {
	case s.random != "":
		return "/dev/mapper/" + s.random
	case s.file != "":
		return s.file
	}
	return source(Filesystem{Device: s.dev, UUID: s.uuid})
}

// fstab, fstab(5): the root is checked first (pass 1), others after it.
func (w *walker) fstab() string {
	var b strings.Builder
	b.WriteString("# device mountpoint type options dump pass\n")
	for _, f := range w.plan.Filesystems {
		fmt.Fprintf(&b, "%s %s %s %s 0 %d\n", escape(source(f)), escape(f.Mountpoint), f.FSType, escape(strings.Join(f.Options, ",")), pass(f))
	}
	for _, s := range w.swaps {
		options := s.options
		if s.priority != nil {
			options = append(slices.Clone(options), fmt.Sprintf("pri=%d", *s.priority))
		}
		fmt.Fprintf(&b, "%s none swap %s 0 0\n", escape(s.source()), cmp.Or(escape(strings.Join(options, ",")), "sw"))
	}
	return b.String()
}

// pass is the order of checks at boot; 0 is none: these formats check
// themselves when they are mounted, or have no device.
func pass(f Filesystem) int {
	switch {
	case f.Source != "" || slices.Contains([]string{"btrfs", "xfs", "bcachefs", "ntfs3"}, f.FSType):
		return 0
	case f.Mountpoint == "/":
		return 1
	}
	return 2
}

// escape is fstab(5)'s for white space.
var escape = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace

// crypttab, crypttab(5) and Debian's additions to it for the initramfs.
func (w *walker) crypttab(keys map[string]KeyFile) string {
	var b strings.Builder
	for _, c := range w.crypts {
		key := "none"
		if c.spec.Settings.KeyFile != "" {
			key = "/etc/cryptsetup-keys.d/" + c.name + ".key"
			keys[key] = c.key
		}
		fmt.Fprintf(&b, "%s %s %s %s\n", c.name, cryptSource(c), key, strings.Join(cryptOptions(c), ","))
	}
	for _, s := range w.swaps {
		if s.random != "" {
			fmt.Fprintf(&b, "%s %s /dev/urandom swap,plain,cipher=aes-xts-plain64,size=512,sector-size=4096\n", s.random, rawSource(s.dev, s.on))
		}
	}
	return b.String()
}

func cryptSource(c crypt) string {
	if c.dev.VG != "" || c.uuid == "" {
		return cmp.Or(c.dev.node(), "UUID="+c.uuid)
	}
	return "UUID=" + c.uuid
}

// rawSource names a device without a signature: what is written onto it has
// none.
func rawSource(d Device, on []Part) string {
	if node := d.node(); node != "" || len(on) == 0 {
		return node
	}
	return "/dev/disk/by-partuuid/" + on[0].Entry.GUID.String()
}

func cryptOptions(c crypt) []string {
	s := c.spec
	list := []string{"luks"}
	if s.Settings.AllowDiscards {
		list = append(list, "discard")
	}
	if s.Settings.BypassWorkqueues {
		list = append(list, "no-read-workqueue", "no-write-workqueue")
	}
	if s.Settings.Header != "" {
		list = append(list, "header="+s.Settings.Header)
	}
	if s.InitrdUnlock == nil || *s.InitrdUnlock {
		list = append(list, "initramfs")
	}
	return append(list, s.Settings.CrypttabExtraOpts...)
}

// mdadmConf, mdadm.conf(5). The names of arrays are the layout's on any host.
func (w *walker) mdadmConf() string {
	if len(w.arrays) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("HOMEHOST <ignore>\nMAILADDR root\n")
	for _, a := range w.arrays {
		fmt.Fprintf(&b, "ARRAY /dev/md/%s UUID=%s\n", a.Array, a.UUID)
	}
	return b.String()
}
