package envscan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVM(t *testing.T) {
	dmi := func(name, text string) tree { return tree{"sys/class/dmi/id/" + name: text + "\n"} }
	const guest, clocks = "flags\t: fpu lm hypervisor\n", "sys/devices/system/clocksource/clocksource0/available_clocksource"
	// byFirmware is a table whose firmware says that it is virtual, or not.
	byFirmware := func(bit byte) string {
		return string([]byte{0, 0x14, 0, 0, 18: 0, 19: bit, 20: 0, 21: 0, 22: 127, 23: 4, 24: 0, 25: 0, 26: 0, 27: 0})
	}
	for name, tt := range map[string]struct {
		tree tree
		want string
	}{
		"bare":                  {tree{"proc/cpuinfo": "flags\t: fpu lm vmx\n"}, ""},
		"qemu":                  {dmi("sys_vendor", "QEMU"), "qemu"},
		"kvm by product":        {tree{"sys/class/dmi/id/sys_vendor": "QEMU\n", "sys/class/dmi/id/product_name": "KVM Virtual Machine\n"}, "kvm"},
		"kvm by clock":          {tree{"sys/class/dmi/id/sys_vendor": "QEMU\n", "proc/cpuinfo": guest, clocks: "tsc kvm-clock \n"}, "kvm"},
		"microvm":               {tree{"proc/cpuinfo": guest, clocks: "tsc \n"}, "vm-other"},
		"virtualbox over kvm":   {tree{"sys/class/dmi/id/product_name": "VirtualBox\n", "proc/cpuinfo": guest, clocks: "kvm-clock\n"}, "oracle"},
		"google":                {tree{"sys/class/dmi/id/product_name": "Google Compute Engine\n", "proc/cpuinfo": guest, clocks: "kvm-clock\n"}, "google"},
		"hyper-v":               {tree{"proc/cpuinfo": guest, clocks: "hyperv_clocksource_tsc_page\n"}, "microsoft"},
		"qemu as hyper-v":       {tree{"sys/class/dmi/id/sys_vendor": "QEMU\n", "proc/cpuinfo": guest, clocks: "hyperv_clocksource_tsc_page\n"}, "qemu"},
		"ec2":                   {tree{"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/class/dmi/id/product_name": "c5.large\n"}, "amazon"},
		"ec2 metal":             {tree{"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/class/dmi/id/product_name": "c5.metal\n"}, ""},
		"ec2 by firmware":       {tree{"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/firmware/dmi/tables/DMI": byFirmware(1 << 4)}, "amazon"},
		"ec2 metal by firmware": {tree{"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/firmware/dmi/tables/DMI": byFirmware(0)}, ""},
		"firmware alone":        {tree{"sys/firmware/dmi/tables/DMI": byFirmware(1 << 4)}, "vm-other"},
		"xen guest":             {tree{"proc/xen/x": ""}, "xen"},
		"xen dom0":              {tree{"proc/xen/capabilities": "control_d\n"}, ""},
		"xen dom0 by feature":   {tree{"proc/xen/x": "", "sys/hypervisor/properties/features": "00000800\n"}, ""},
		"xen by type":           {tree{"sys/hypervisor/type": "xen\n"}, "xen"},
		"uml":                   {tree{"proc/cpuinfo": "vendor_id\t: User Mode Linux\n"}, "uml"},
		"arm kvm":               {tree{"sys/firmware/devicetree/base/hypervisor/compatible": "linux,kvm\x00"}, "kvm"},
		"arm qemu":              {tree{"sys/firmware/devicetree/base/fw-cfg@9020000/reg": ""}, "qemu"},
		"arm board":             {tree{"sys/firmware/devicetree/base/compatible": "raspberrypi,4-model-b\x00"}, ""},
	} {
		s := captured(t, tt.tree)
		if got := s.vm(); got != tt.want || len(s.gaps) > 0 {
			t.Errorf("%s: %q, not %q; %+v", name, got, tt.want, s.gaps)
		}
	}
}

func TestContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		tree tree
		want string
	}{
		"none":       {tree{"proc/1/environ": "HOME=/\x00TERM=linux\x00"}, ""},
		"docker":     {tree{".dockerenv": ""}, "docker"},
		"podman":     {tree{"run/.containerenv": "", "proc/1/environ": "container=oci\x00"}, "podman"},
		"lxc":        {tree{"proc/1/environ": "container=lxc\x00", ".dockerenv": ""}, "lxc"},
		"nspawn":     {tree{"run/host/container-manager": "systemd-nspawn\n"}, "systemd-nspawn"},
		"systemd":    {tree{"run/systemd/container": "docker\n"}, "docker"},
		"new":        {tree{"run/systemd/container": "someday\n"}, "container-other"},
		"oci":        {tree{"run/systemd/container": "oci\n"}, "container-other"},
		"openvz":     {tree{"proc/vz/x": ""}, "openvz"},
		"openvz 0":   {tree{"proc/vz/x": "", "proc/bc/x": ""}, ""},
		"wsl":        {tree{"proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}, "wsl"},
		"kubernetes": {tree{"proc/1/cgroup": "0::/kubepods/besteffort/pod1\n"}, "kubepods"},
		"cgroup":     {tree{"sys/fs/cgroup/cgroup.events": "", "sys/fs/cgroup/cgroup.type": "domain\n"}, "container-other"},
		"host":       {tree{"sys/fs/cgroup/cgroup.procs": "1\n"}, ""},
	} {
		if got := captured(t, tt.tree).container(); got != tt.want {
			t.Errorf("%s: %q, not %q", name, got, tt.want)
		}
	}
}

func TestSystem(t *testing.T) {
	s := captured(t, tree{
		"etc/os-release":            "# a comment=x\nNAME='Example \"OS\"'\nID=\"example\"\nID_LIKE=\"debian ubuntu\"\nVERSION_ID=9\nVERSION_CODENAME=nine\nPRETTY_NAME=\"Example \\$9\"\n",
		"proc/sys/kernel/osrelease": "6.12.0\n", "proc/sys/kernel/hostname": "(none)\n", "etc/machine-id": "uninitialized\n",
		"proc/cmdline": "root=/dev/sda1 quiet\n", "sys/kernel/security/lockdown": "none [integrity] confidentiality\n", "vic/request.json": "{}",
	})
	want := OS{
		Type: "linux", Kernel: "6.12.0", Cmdline: "root=/dev/sda1 quiet", ID: "example", Like: []string{"debian", "ubuntu"},
		VersionID: "9", Codename: "nine", Name: "Example $9", RAM: true, Lockdown: "integrity",
	}
	if diff := cmp.Diff(want, s.system()); diff != "" || len(s.gaps) > 0 {
		t.Error(diff, s.gaps)
	}
	if got := captured(t, tree{"usr/lib/os-release": "ID=alpine\n"}).system(); got.ID != "alpine" {
		t.Errorf("%+v", got)
	}
	// A link leads to a file of the captured system, whatever this one has there.
	for link, target := range map[string]string{"-> /nix/store/x-os-release": "nix/store/x-os-release", "-> ../usr/lib/other-release": "usr/lib/other-release"} {
		if got := captured(t, tree{"etc/os-release": link, target: "ID=nixos\n"}).system(); got.ID != "nixos" {
			t.Errorf("%s: %+v", link, got)
		}
	}
	s = captured(t, tree{"etc/os-release": "-> /usr/lib/os-release", "etc/machine-id": "-> /etc/hostname"})
	if got := s.system(); got.ID != "" || got.MachineID != "" {
		t.Errorf("of this machine: %+v", got)
	}
}

// loaderELF is the beginning of a program for amd64 with an interpreter.
func loaderELF(interpreter string) string {
	b := make([]byte, 120)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20] = 3, 62, 1
	b[32], b[52], b[54], b[56] = 64, 64, 56, 1 // one program header after this one
	b[64], b[72], b[96] = 3, 120, byte(len(interpreter)+1)
	b[104] = byte(len(interpreter) + 1)
	return string(b) + interpreter + "\x00"
}

func TestLibc(t *testing.T) {
	for name, tt := range map[string]struct {
		tree    tree
		want    string
		missing int
	}{
		"glibc":   {tree{"bin": "-> usr/bin", "usr/bin/sh": "-> dash", "usr/bin/dash": loaderELF("/lib64/ld-linux-x86-64.so.2")}, "glibc", 0},
		"musl":    {tree{"bin/sh": "-> /bin/busybox", "bin/busybox": loaderELF("/lib/ld-musl-x86_64.so.1")}, "musl", 0},
		"nixos":   {tree{"bin/sh": "-> /nix/store/x-bash/bin/sh", "nix/store/x-bash/bin/sh": loaderELF("/nix/store/y-glibc/lib/ld-linux-x86-64.so.2")}, "glibc", 0},
		"static":  {tree{"bin/sh": loaderELF("")[:64] + strings.Repeat("\x00", 56)}, "", 0},
		"script":  {tree{"bin/sh": "#!/bin/other\n"}, "", 0},
		"by file": {tree{"bin/sh": "#!/bin/other\n", "lib/ld-musl-aarch64.so.1": ""}, "musl", 0},
		"loop":    {tree{"bin/sh": "-> sh"}, "", 1},
		"nothing": {tree{}, "", 1},
	} {
		s := captured(t, tt.tree)
		if got := s.libc(); got != tt.want || len(s.gaps) != tt.missing {
			t.Errorf("%s: %q, not %q; %+v", name, got, tt.want, s.gaps)
		}
	}
}

func TestInit(t *testing.T) {
	for name, tt := range map[string]struct {
		tree          tree
		init, version string
	}{
		"systemd":         {tree{"proc/1/exe": "-> /usr/lib/systemd/systemd", "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so": ""}, "systemd", "257"},
		"fedora":          {tree{"proc/1/exe": "-> /usr/lib/systemd/systemd", "usr/lib/systemd/libsystemd-shared-257.5-1.fc42.so": "", "usr/lib/systemd/libsystemd-shared-256.so": ""}, "systemd", "257"},
		"nixos":           {tree{"proc/1/exe": "-> /nix/store/x-systemd-258/lib/systemd/systemd", "nix/store/x-systemd-258/lib/systemd/libsystemd-shared-258.so": ""}, "systemd", "258"},
		"not root":        {tree{"proc/1/comm": "systemd\n", "sbin/init": "-> ../lib/systemd/systemd", "lib/systemd/libsystemd-shared-252.so": ""}, "systemd", "252"},
		"nixos, not root": {tree{"proc/1/comm": "systemd\n", "run/current-system/systemd/lib/systemd/libsystemd-shared-258.so": ""}, "systemd", "258"},
		"upgraded":        {tree{"proc/1/exe": "-> /usr/lib/systemd/systemd (deleted)"}, "systemd", ""},
		"alpine":          {tree{"proc/1/comm": "init\n", "sbin/init": "-> /bin/busybox", "bin/busybox": ""}, "busybox", ""},
		"alpine, root":    {tree{"proc/1/exe": "-> /bin/busybox", "proc/1/comm": "init\n"}, "busybox", ""},
		"void":            {tree{"proc/1/exe": "-> /usr/bin/runit", "proc/1/comm": "runit\n"}, "runit", ""},
		"sysvinit":        {tree{"proc/1/comm": "init\n", "sbin/init": "", "etc/inittab": ""}, "sysvinit", ""},
		"openrc":          {tree{"proc/1/comm": "openrc-init\n"}, "openrc-init", ""},
		"a container's":   {tree{"proc/1/comm": "tini\n"}, "tini", ""},
	} {
		s := captured(t, tt.tree)
		if init, version := s.init(); init != tt.init || version != tt.version || len(s.gaps) > 0 {
			t.Errorf("%s: %s %s %+v", name, init, version, s.gaps)
		}
	}
}

func TestKexec(t *testing.T) {
	const signed, forced = "CONFIG_KEXEC=y\nCONFIG_KEXEC_FILE=y\nCONFIG_KEXEC_SIG=y\n", "CONFIG_KEXEC_FILE=y\nCONFIG_KEXEC_SIG=y\nCONFIG_KEXEC_SIG_FORCE=y\n"
	with := func(config string, more tree) tree {
		tr := tree{"proc/sys/kernel/osrelease": "6.12.0\n", "sys/kernel/kexec_loaded": "0\n", "boot/config-6.12.0": config}
		for path, text := range more {
			tr[path] = text
		}
		return tr
	}
	locked := tree{lockdownFile[1:]: "none [integrity] confidentiality\n"}
	for name, tt := range map[string]struct {
		tree    tree
		want    Kexec
		missing string
	}{
		"free":       {with(signed, nil), Kexec{Allowed: true}, ""},
		"forced":     {with(forced, nil), Kexec{Allowed: true, Signed: true}, ""},
		"locked":     {with(signed, locked), Kexec{Allowed: true, Signed: true, Why: []string{"the kernel is locked down (integrity) and demands a signature"}}, ""},
		"locked out": {with("CONFIG_KEXEC=y\n", locked), Kexec{Why: []string{"the kernel is locked down (integrity) and was built without CONFIG_KEXEC_SIG"}}, ""},
		"disabled":   {with(signed, tree{"proc/sys/kernel/kexec_load_disabled": "1\n"}), Kexec{Why: []string{"kernel.kexec_load_disabled is 1"}}, ""},
		"used up":    {with(signed, tree{"proc/sys/kernel/kexec_load_limit_reboot": "0\n"}), Kexec{Why: []string{"kernel.kexec_load_limit_reboot is 0"}}, ""},
		"unlimited":  {with(signed, tree{"proc/sys/kernel/kexec_load_limit_reboot": "-1\n"}), Kexec{Allowed: true}, ""},
		"without":    {with("# CONFIG_KEXEC is not set\n", nil), Kexec{Why: []string{"the kernel was built without kexec"}}, ""},
		"container":  {with(signed, tree{".dockerenv": ""}), Kexec{Why: []string{"this is a container (docker), whose reboot(2) is not the machine's"}}, ""},
		"no config":  {tree{"sys/kernel/kexec_loaded": "0\n"}, Kexec{Allowed: true}, "os.kexec.signed"},
		"no kernel":  {tree{"sys/kernel/x": ""}, Kexec{Why: []string{"the kernel was built without kexec"}}, ""},
		"no tree":    {tree{}, Kexec{Allowed: true}, "os.kexec"},
	} {
		if tt.want.Why == nil {
			tt.want.Why = []string{}
		}
		s := captured(t, tt.tree)
		if diff := cmp.Diff(tt.want, s.kexec()); diff != "" || strings.Join(s.missing(), " ") != tt.missing {
			t.Errorf("%s: %s %+v", name, diff, s.gaps)
		}
	}
}

func TestLocale(t *testing.T) {
	for name, tt := range map[string]struct {
		tree                     tree
		timezone, locale, keymap string
	}{
		"systemd": {tree{"etc/localtime": "-> ../usr/share/zoneinfo/Europe/Berlin", "etc/locale.conf": "LANG=de_DE.UTF-8\n", "etc/vconsole.conf": "KEYMAP=de-latin1\nFONT=x\n"}, "Europe/Berlin", "de_DE.UTF-8", "de-latin1"},
		"debian":  {tree{"etc/timezone": "America/New_York\n", "etc/localtime": "TZif2", "etc/default/locale": "LANG=\"en_US.UTF-8\"\n", "etc/default/keyboard": "XKBLAYOUT=\"de,us\"\nXKBVARIANT=\"nodeadkeys,\"\n"}, "America/New_York", "en_US.UTF-8", "de-nodeadkeys"},
		"nixos":   {tree{"etc/localtime": "-> /etc/zoneinfo/Asia/Tokyo"}, "Asia/Tokyo", "", ""},
		"plain":   {tree{"etc/default/keyboard": "XKBLAYOUT=us\nXKBVARIANT=\n"}, "", "", "us"},
		"cmdline": {tree{"proc/cmdline": "quiet locale.LANG=fr_FR.UTF-8 vconsole.keymap=fr\n", "etc/locale.conf": "LANG=C\n", "etc/vconsole.conf": "KEYMAP=us\n"}, "", "fr_FR.UTF-8", "fr"},
		"nothing": {tree{}, "", "", ""},
	} {
		s := captured(t, tt.tree)
		if a, b, c := s.timezone(), s.locale(), s.keymap(); a != tt.timezone || b != tt.locale || c != tt.keymap || len(s.gaps) > 0 {
			t.Errorf("%s: %q %q %q %+v", name, a, b, c, s.gaps)
		}
	}
}

func TestHostKeys(t *testing.T) {
	s := captured(t, tree{
		"etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f root@example\n",
		"etc/ssh/ssh_host_ed25519_key":     "never read",
		"etc/ssh/ssh_host_rsa_key.pub":     "ssh-rsa !!! x\n",
		"etc/ssh/ssh_host_dsa_key.pub":     "\n",
	})
	list := s.hostKeys()
	if len(list) != 1 || list[0].Type != "ssh-ed25519" || !strings.HasPrefix(list[0].Fingerprint, "SHA256:") || len(s.gaps) != 2 {
		t.Errorf("%+v %+v", list, s.gaps)
	}
}
