package envscan

// OS is the running system.
type OS struct {
	Type        string   `json:"type"`                            // "linux"
	Kernel      string   `json:"kernel"`                          // release: uname -r
	Cmdline     string   `json:"cmdline" privacy:"identifying"`   // of the kernel
	ID          string   `json:"id"`                              // os-release: debian
	Like        []string `json:"like"`                            // os-release's ID_LIKE
	VersionID   string   `json:"versionID"`                       // os-release: 13
	Codename    string   `json:"codename"`                        // os-release: trixie
	Name        string   `json:"name"`                            // os-release's PRETTY_NAME
	Hostname    string   `json:"hostname" privacy:"identifying"`  // host name; null: none is set
	MachineID   string   `json:"machineID" privacy:"identifying"` // /etc/machine-id
	Libc        string   `json:"libc"`                            // "glibc", "musl"; null: none found
	Init        string   `json:"init"`                            // PID 1: systemd, openrc-init, runit, busybox, vic-init, ...
	InitVersion string   `json:"initVersion"`                     // of systemd: "257"
	Container   string   `json:"container"`                       // docker, lxc, ...; null: none
	VM          string   `json:"vm"`                              // kvm, qemu, vmware, microsoft, ...: as systemd-detect-virt; null: none
	RAM         bool     `json:"ram"`                             // this is vic's RAM system
	// Loader is the boot loader that says so in an EFI variable (Boot Loader
	// Interface), with its version.
	Loader   string `json:"loader"`
	Kexec    Kexec  `json:"kexec"`    // whether it can start another kernel
	Lockdown string `json:"lockdown"` // none, integrity, confidentiality; null: the kernel has none
	Timezone string `json:"timezone"` // Europe/Berlin
	Locale   string `json:"locale"`   // LANG of the system
	Keymap   string `json:"keymap"`   // of the console; where only a layout of X is set, that, and its variant after a dash
	// HostKey are the SSH server's.
	HostKey []HostKey `json:"hostKey"`
}

// Kexec says whether this system can start another kernel.
type Kexec struct {
	Allowed bool `json:"allowed"` // nothing stands in the way of a kernel that is signed where that is demanded
	// Why says what stands in the way: "kernel.kexec_load_disabled is 1", "not
	// root", "the kernel is locked down (integrity) and demands a signature".
	Why []string `json:"why"`
	// Signed: only a kernel with a signature that this one knows is accepted.
	Signed bool `json:"signed"`
}

// HostKey is the public half of one.
type HostKey struct {
	Type        string `json:"type"`                              // ssh-ed25519
	Fingerprint string `json:"fingerprint" privacy:"identifying"` // SHA256:...
}
