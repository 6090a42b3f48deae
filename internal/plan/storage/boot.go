package storage

// Boot is what an installed Debian has to know to find its disks again.
type Boot struct {
	// Root is the value of root= on the kernel command line: "UUID=...".
	Root string `json:"root"`
	// Cmdline are further parameters: resume=UUID=..., rootflags=subvol=....
	Cmdline []string `json:"cmdline,omitempty"`
	// Files of the target, by absolute path: /etc/fstab, /etc/crypttab,
	// /etc/mdadm/mdadm.conf, /etc/initramfs-tools/conf.d/resume, ....
	Files map[string]string `json:"files"`
	// Keys are key files to be put into the target: crypttab names them. The
	// value is the secret with the bytes.
	Keys map[string]string `json:"keys,omitempty"` // /etc/cryptsetup-keys.d/NAME.key -> luks-NAME
}
