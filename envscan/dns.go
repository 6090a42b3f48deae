package envscan

import (
	"errors"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// upstream are where the resolvers that a machine runs for itself keep those
// that they ask, in the form of resolv.conf: systemd-resolved(8),
// NetworkManager.conf(5), resolvconf(8) for dnsmasq.
var upstream = []string{
	"/run/systemd/resolve/resolv.conf",
	"/run/NetworkManager/no-stub-resolv.conf",
	"/run/dnsmasq/resolv.conf",
}

var errStub = errors.New("the resolver of resolv.conf runs on this machine, and no file says whom it asks")

// dns reads resolv.conf, and what is behind it where it only names a resolver of
// the machine itself.
func (s *scanner) dns() DNS {
	file := s.followed("/etc/resolv.conf")
	d := parseResolvConf(s.text("net.dns", file))
	if len(d.Server) == 0 || slices.ContainsFunc(d.Server, func(a string) bool { return !loopback(a) }) {
		return d
	}
	d.Stub = true
	for _, file := range upstream {
		text, err := s.root.Text(file)
		s.gap("net.dns.server", file, err)
		if real := parseResolvConf(text); slices.ContainsFunc(real.Server, func(a string) bool { return !loopback(a) }) {
			d.Server = real.Server
			if len(d.Search) == 0 {
				d.Search = real.Search
			}
			return d
		}
	}
	d.Server = []string{}
	s.gap("net.dns.server", file, errStub)
	return d
}

// followed is where a file is that may be a symbolic link, which in a captured
// tree must not lead to the files of this system.
func (s *scanner) followed(file string) string {
	for range 8 {
		target, err := s.root.Readlink(file)
		if err != nil { // no link, or nothing
			return file
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(file), target)
		}
		file = path.Join("/", target)
	}
	return file
}

func loopback(server string) bool {
	a, err := netip.ParseAddr(server)
	return err == nil && a.IsLoopback()
}

// parseResolvConf reads resolv.conf(5). Of search and domain the last one
// counts; servers that are no addresses are skipped, as resolvers do.
func parseResolvConf(text string) DNS {
	d := DNS{Server: []string{}, Search: []string{}, Options: []string{}}
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i == 0 {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if _, err := netip.ParseAddr(words[1]); err == nil {
				d.Server = append(d.Server, words[1])
			}
		case "search":
			d.Search = words[1:]
		case "domain":
			d.Search = words[1:2]
		case "options":
			d.Options = append(d.Options, words[1:]...)
		}
	}
	d.Search = slices.DeleteFunc(d.Search, func(name string) bool { return name == "." }) // resolved's "no domain"
	return d
}
