package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/request"
)

// inject makes the payload this machine's system. The payload is the same for
// every machine: what differs is here.
func (t target) inject() []named {
	s := t.storageFiles()
	s = append(s,
		t.file("/etc/hostname", t.req.System.Hostname+"\n"),
		t.file("/etc/hosts", hosts(t.req.System.Hostname)),
		t.file("/etc/machine-id", t.machineID()))
	s = append(s, t.bootConfig()...)
	s = append(s, t.apt()...)
	s = append(s, t.links()...)
	s = append(s, t.network()...)
	s = append(s, t.regional()...)
	for _, u := range t.req.System.Users {
		s = append(s, named{"user " + u.Name, AddUser{u}})
	}
	s = append(s, t.itemFiles()...) // they may belong to users, and have the last word
	if t.anywhere {
		return append(s, t.firstBoot()...)
	}
	return append(s, named{"SSH host keys", HostKeys{AsBefore: t.oldHostKeys()}})
}

// machineID is the content of /etc/machine-id. Empty: systemd makes one at the
// first boot and keeps it (machine-id(5), "First Boot Semantics").
func (t target) machineID() string {
	if id := t.req.System.Identity; id != nil && id.MachineID != "" {
		return id.MachineID + "\n"
	}
	return ""
}

// oldHostKeys tells whether the machine keeps its SSH host keys.
func (t target) oldHostKeys() bool {
	id := t.req.System.Identity
	return id != nil && id.HostKeys
}

// storageFiles say how the system finds its disks again.
func (t target) storageFiles() []named {
	var s []named
	boot := t.storage.Boot
	for _, path := range slices.Sorted(maps.Keys(boot.Files)) {
		s = append(s, t.file(path, boot.Files[path]))
	}
	for _, path := range slices.Sorted(maps.Keys(boot.Keys)) {
		s = append(s, named{path, WriteSecret{Path: path, Mode: 0o400, Key: boot.Keys[path]}})
	}
	return s
}

func (t target) file(path, content string) named {
	return named{path, WriteFile{Path: path, Mode: 0o644, Content: content}}
}

func hosts(hostname string) string {
	short, _, _ := strings.Cut(hostname, ".")
	names := hostname
	if short != hostname {
		names += " " + short
	}
	return "127.0.0.1 localhost\n127.0.1.1 " + names + "\n" +
		"::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
}

// bootConfig is read by the target's kernel hooks, now and at every kernel
// update: kernel-install(8) for systemd-boot, update-grub(8) for GRUB,
// raspi-firmware for a board.
func (t target) bootConfig() []named {
	// Most of an initramfs is compressed modules: zstd's level 3 takes a
	// quarter less time for all of it than Debian's 9, for 4 % more bytes.
	initramfs := t.file("/etc/initramfs-tools/conf.d/vic", "COMPRESSLEVEL=3\n")
	if t.req.System.Board != nil {
		return append(t.boardConfig(), initramfs)
	}
	extra := strings.Join(append(slices.Clone(t.storage.Boot.Cmdline), t.req.System.Cmdline...), " ")
	root := "root=" + t.storage.Boot.Root
	s := []named{
		// The machine-id does not exist yet and will differ: entries are
		// named after the distribution instead.
		t.file("/etc/kernel/entry-token", "debian\n"),
		t.file("/etc/kernel/install.conf", "layout=bls\n"),
		t.file("/etc/kernel/cmdline", strings.TrimSpace(root+" ro "+extra)+"\n"),
		initramfs,
	}
	if esp := t.esp(); esp != nil && esp.Device.Array != "" {
		s = append(s, raidHooks()...)
	}
	if len(t.biosDisks()) > 0 {
		// In graphics, GRUB hangs on a machine that has none.
		s = append(s, t.file("/etc/default/grub.d/vic.cfg", "GRUB_TIMEOUT=3\nGRUB_TERMINAL=console\nGRUB_DISABLE_OS_PROBER=true\n"+
			"GRUB_CMDLINE_LINUX_DEFAULT=\nGRUB_CMDLINE_LINUX="+shellQuote(extra)+"\n"))
	}
	return s
}

// raidHooks keep systemd-boot's entries up to date on an ESP that is an array.
// Debian's own hooks ask bootctl whether it is installed; it looks for a
// partition of the type ESP, sees an array, and they end without a word. These
// run the same hooks once more, without that check (systemd's
// docs/ENVIRONMENT.md).
func raidHooks() []named {
	var s []named
	for _, hook := range []string{"/etc/initramfs/post-update.d/systemd-boot", "/etc/kernel/postinst.d/zz-systemd-boot", "/etc/kernel/postrm.d/zz-systemd-boot"} {
		path := hook + "-on-raid"
		s = append(s, named{path, WriteFile{Path: path, Mode: 0o755, Content: "#!/bin/sh\nset -eu\n" +
			"test -x " + hook + " || exit 0\nexport SYSTEMD_RELAX_ESP_CHECKS=1\nexec " + hook + " \"$@\"\n"}})
	}
	return s
}

// shellQuote quotes for a file that a POSIX shell reads.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// apt is where the system gets packages and updates from (sources.list(5)).
func (t target) apt() []named {
	cfg := t.req.System.APT
	var entries []string
	if cfg.Mirror != "" {
		entries = append(entries, aptSource(cfg.Mirror, cfg.Suite, cfg.Suite+"-updates"))
	}
	if cfg.Security != "" {
		entries = append(entries, aptSource(cfg.Security, cfg.Suite+"-security"))
	}
	if len(entries) == 0 {
		return nil
	}
	return []named{t.file("/etc/apt/sources.list.d/debian.sources", strings.Join(entries, "\n"))}
}

func aptSource(url string, suites ...string) string {
	return fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: main non-free-firmware\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
		url, strings.Join(suites, " "))
}

// network has systemd-networkd configure every physical NIC, found by its
// permanent MAC whatever its name is; or what the system before had configured.
func (t target) network() []named {
	if t.req.System.Network.Mode == request.NetworkAsBefore {
		return t.networkBefore()
	}
	if t.anywhere {
		return []named{t.file("/etc/systemd/network/10-vic.network", networkFile(t.req.System.Network, anyCard))}
	}
	var s []named
	for i, n := range t.facts.HW.NIC {
		if n.Wireless {
			continue // needs credentials, and wpa_supplicant or iwd
		}
		s = append(s, t.file(fmt.Sprintf("/etc/systemd/network/10-vic-%d.network", i), networkFile(t.req.System.Network, t.match(n))))
	}
	return s
}

// networkFile is a systemd.network(5) file.
func networkFile(cfg request.Network, match string) string {
	var b strings.Builder
	b.WriteString("[Match]\n" + match)
	// A machine with several cards is up when one of them is.
	b.WriteString("\n[Link]\nRequiredForOnline=yes\n")
	if cfg.Mode == request.NetworkDHCP {
		b.WriteString("\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n")
	}
	return b.String()
}

// regional is time zone, language and keyboard.
func (t target) regional() []named {
	sys := t.req.System
	var s []named
	if sys.Timezone != "" {
		s = append(s,
			named{"/etc/localtime", Symlink{"/etc/localtime", "/usr/share/zoneinfo/" + sys.Timezone}},
			t.file("/etc/timezone", sys.Timezone+"\n"))
	}
	if sys.Locale != "" {
		if !slices.Contains([]string{"C", "POSIX", "C.UTF-8"}, sys.Locale) {
			s = append(s, named{"locale " + sys.Locale, Locale{sys.Locale}})
		}
		// /etc/default/locale is a link to it.
		s = append(s, t.file("/etc/locale.conf", "LANG="+sys.Locale+"\n"))
	}
	if sys.Keymap != "" {
		// keyboard(5): console-setup and systemd-localed both read it.
		s = append(s, t.file("/etc/default/keyboard",
			"XKBMODEL=pc105\nXKBLAYOUT="+sys.Keymap+"\nXKBVARIANT=\nXKBOPTIONS=\nBACKSPACE=guess\n"))
	}
	return s
}
