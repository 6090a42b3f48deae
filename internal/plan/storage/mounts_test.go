package storage

import (
	"strings"
	"testing"
)

// A directory is bound after what it is in is mounted, and from this machine
// when the layout does not provide it.
func TestBindOrder(t *testing.T) {
	text := func(nodev string) string {
		return "disk: {main: {type: disk, device: /dev/vda, content: {type: gpt, partitions: {root: {size: 1G, content: " +
			"{type: filesystem, format: ext4, mountpoint: /}}, persist: {size: 1G, content: {type: filesystem, format: ext4, mountpoint: /persist}}}}}}\nnodev: {" + nodev + "}"
	}
	bind := func(at, from string) string {
		return at + ": {fsType: none, device: " + from + ", mountOptions: [bind]}"
	}
	for nodev, want := range map[string]string{
		bind("/home", "/persist/home"):                                "/ /persist /home=/persist/home",
		bind("/home", "/srv/home"):                                    "/ /home<-/srv/home /persist",
		bind("/home", "/persistent"):                                  "/ /home<-/persistent /persist",
		bind("/a", "/home/a") + ", " + bind("/home", "/persist/home"): "/ /persist /home=/persist/home /a=/home/a",
		bind("/persist/var", "/persist/log"):                          "/ /persist /persist/var=/persist/log",
		bind("/a", "/b") + ", " + bind("/b", "/a"):                    "mount point /a: what is bound there is in a file system that is mounted later",
	} {
		l := mustParse(t, text(nodev))
		p, err := New(Config{Layout: l, Disks: blank(l), Seed: seed})
		var got []string
		for _, s := range p.Mount {
			if m, ok := s.Action.(Mount); ok {
				got = append(got, m.Mountpoint+map[bool]string{true: "<-", false: "="}[m.Outside]+m.Source)
			}
		}
		all := strings.ReplaceAll(strings.Join(got, " ")+" ", "= ", " ")
		if err != nil {
			all = err.Error()
		}
		if strings.TrimSpace(all) != want {
			t.Errorf("%s:\n got %s\nwant %s", nodev, all, want)
		}
	}
}
