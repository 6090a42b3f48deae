package envscan

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// timezone is the link's target (localtime(5)), or what Debian keeps beside it
// where it is a copy. Neither is UTC by default, and none was chosen.
func (s *scanner) timezone() string {
	const fact, link = "os.timezone", "/etc/localtime"
	if target, err := s.root.Readlink(link); err == nil {
		if _, zone, ok := strings.Cut(target, "/zoneinfo/"); ok {
			return zone
		}
	}
	zone, _, _ := strings.Cut(s.text(fact, "/etc/timezone"), "\n")
	return zone
}

// locale is LANG: locale.conf(5), Debian's file, or the kernel command line that
// outranks both for systemd.
func (s *scanner) locale() string {
	const fact = "os.locale"
	return cmp.Or(s.cmdline(fact, "locale.LANG"), s.envFile(fact, "/etc/locale.conf")["LANG"], s.envFile(fact, "/etc/default/locale")["LANG"])
}

// keymap is the console's: vconsole.conf(5), or the layout of keyboard(5), which
// Debian makes the console's from.
func (s *scanner) keymap() string {
	const fact = "os.keymap"
	if name := cmp.Or(s.cmdline(fact, "vconsole.keymap"), s.envFile(fact, "/etc/vconsole.conf")["KEYMAP"]); name != "" {
		return name
	}
	keyboard := s.envFile(fact, "/etc/default/keyboard")
	layout, _, _ := strings.Cut(keyboard["XKBLAYOUT"], ",")
	variant, _, _ := strings.Cut(keyboard["XKBVARIANT"], ",")
	if layout != "" && variant != "" {
		return layout + "-" + variant
	}
	return layout
}

// cmdline is the last value of a key of the kernel command line.
func (s *scanner) cmdline(fact, key string) (value string) {
	for _, word := range strings.Fields(s.text(fact, "/proc/cmdline")) {
		if v, ok := strings.CutPrefix(word, key+"="); ok {
			value = strings.Trim(v, `"`)
		}
	}
	return value
}

// hostKeys are those that sshd has by default, which everybody may read the
// public halves of.
func (s *scanner) hostKeys() []HostKey {
	const fact, dir = "os.hostKey", "/etc/ssh"
	names, err := s.root.Names(dir)
	s.gap(fact, dir, err)
	list := []HostKey{}
	for _, name := range names {
		if !strings.HasPrefix(name, "ssh_host_") || !strings.HasSuffix(name, "_key.pub") {
			continue
		}
		path := dir + "/" + name
		key, err := fingerprint(s.text(fact, path))
		if err != nil {
			s.gap(fact, path, err)
			continue
		}
		list = append(list, key)
	}
	return list
}

// fingerprint reads a line of a public key (sshd(8), AUTHORIZED_KEYS FILE
// FORMAT): "ssh-ed25519 base64 comment".
func fingerprint(line string) (HostKey, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return HostKey{}, errors.New("it is no public key")
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return HostKey{}, errors.New("it is no public key: " + err.Error())
	}
	sum := sha256.Sum256(blob)
	return HostKey{Type: words[0], Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])}, nil
}
