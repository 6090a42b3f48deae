package diskimage

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// The numbers of accounts, as Debian's login.defs(5) has them.
const (
	firstID  = 1000
	lastID   = 60000
	firstSub = 100000
	subCount = 65536
	homeMode = 0o700
)

// addUser makes or changes an account, as useradd(8), usermod(8) and
// chpasswd(8) would.
func (b *build) addUser(u request.User) error {
	line, err := b.tree.line("/etc/passwd", u.Name, 7)
	if errors.Is(err, errNoEntry) {
		if err = b.newUser(u.Name); err == nil {
			line, err = b.tree.line("/etc/passwd", u.Name, 7)
		}
	}
	if err != nil {
		return err
	}
	if u.Sudo && u.Name != "root" {
		if err := b.join(u.Name, "sudo"); err != nil {
			return err
		}
	}
	if err := b.password(u); err != nil {
		return err
	}
	if path, content, ok := plan.Sudoers(u); ok {
		if err := b.tree.put(path, owner{mode: 0o440}, []byte(content)); err != nil {
			return err
		}
	}
	return b.authorize(u, line)
}

// newUser adds an account with a group and a home of its own.
func (b *build) newUser(name string) error {
	if _, err := b.tree.line("/etc/group", name, 4); err == nil {
		return fmt.Errorf("there is a group %s, and no account of that name", name)
	}
	id, err := b.freeID()
	if err != nil {
		return err
	}
	n, dir := strconv.Itoa(id), "/home/"+name
	for _, add := range []struct{ file, line string }{
		{"/etc/passwd", name + ":x:" + n + ":" + n + "::" + dir + ":/bin/bash"},
		{"/etc/shadow", name + ":!:" + b.today() + ":0:99999:7:::"},
		{"/etc/group", name + ":x:" + n + ":"},
		{"/etc/gshadow", name + ":!::"},
	} {
		if err := b.append(add.file, add.line); err != nil {
			return err
		}
	}
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		if err := b.appendSub(file, name); err != nil {
			return err
		}
	}
	return b.skeleton(dir, owner{homeMode, id, id})
}

// today is the day of the build, as shadow(5) counts.
func (b *build) today() string { return strconv.FormatInt(b.time.Unix()/86400, 10) }

// freeID is the number after the highest of an account or a group.
func (b *build) freeID() (int, error) {
	id := firstID
	for _, file := range []string{"/etc/passwd", "/etc/group"} {
		content, err := b.tree.read(file)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(content)) {
			f := strings.Split(line, ":")
			if len(f) < 4 {
				continue
			}
			if n, err := strconv.Atoi(f[2]); err == nil && n >= id && n <= lastID {
				id = n + 1
			}
		}
	}
	if id > lastID {
		return 0, errors.New("no number is left for an account")
	}
	return id, nil
}

func (b *build) append(file, line string) error {
	return b.edit(file, func(lines []string) []string { return append(lines, line) })
}

// appendSub gives an account the next range of subordinate numbers (subuid(5)),
// where there are any.
func (b *build) appendSub(file, name string) error {
	if !b.tree.exists(file) {
		return nil
	}
	return b.edit(file, func(lines []string) []string {
		next := firstSub
		for _, line := range lines {
			if f := strings.Split(line, ":"); len(f) == 3 {
				if start, count, err := numbers(f[1], f[2]); err == nil {
					next = max(next, start+count)
				}
			}
		}
		return append(lines, fmt.Sprintf("%s:%d:%d", name, next, subCount))
	})
}

// edit changes the lines of a file, which keeps its mode and owner.
func (b *build) edit(file string, change func(lines []string) []string) error {
	at, e := b.tree.lookup(file)
	content, err := b.tree.read(file)
	if err != nil {
		return err
	}
	lines := change(strings.Split(strings.TrimSuffix(string(content), "\n"), "\n"))
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	return b.tree.put(at, owner{e.Mode, e.Uid, e.Gid}, []byte(strings.Join(lines, "\n")+"\n"))
}

// fields changes the entry of a name in a file of entries.
func (b *build) fields(file, name string, change func(f []string)) error {
	found := false
	err := b.edit(file, func(lines []string) []string {
		for i, line := range lines {
			if f := strings.Split(line, ":"); f[0] == name {
				change(f)
				lines[i], found = strings.Join(f, ":"), true
			}
		}
		return lines
	})
	if err == nil && !found {
		err = fmt.Errorf("%s has no %s", file, name)
	}
	return err
}

// join makes an account a member of a group.
func (b *build) join(user, group string) error {
	for _, file := range []string{"/etc/group", "/etc/gshadow"} {
		err := b.fields(file, group, func(f []string) {
			members := slices.DeleteFunc(strings.Split(f[3], ","), func(m string) bool { return m == "" })
			if !slices.Contains(members, user) {
				members = append(members, user)
			}
			f[3] = strings.Join(members, ",")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// password sets the hash, or locks the account.
func (b *build) password(u request.User) error {
	if u.PasswordSecret == "" {
		return b.fields("/etc/shadow", u.Name, func(f []string) {
			if !strings.HasPrefix(f[1], "!") {
				f[1] = "!" + f[1]
			}
		})
	}
	hash, err := b.reveal(u.PasswordSecret)
	if err != nil {
		return fmt.Errorf("secret %q: %w", u.PasswordSecret, err)
	}
	return b.fields("/etc/shadow", u.Name, func(f []string) { f[1], f[2] = hash, b.today() })
}

// skeleton makes a home, with what /etc/skel has.
func (b *build) skeleton(dir string, o owner) error {
	if err := b.tree.mkdir(dir, o); err != nil {
		return err
	}
	const skel = "etc/skel"
	for _, name := range b.tree.below(skel) {
		e, to := b.tree.entries[name], home(dir, strings.TrimPrefix(name, skel))
		mine := owner{e.Mode, o.uid, o.gid}
		var err error
		switch {
		case name == skel:
		case e.Typeflag == tar.TypeDir:
			err = b.tree.mkdir(to, mine)
		case e.Typeflag == tar.TypeSymlink:
			if err = b.tree.symlink(to, e.Linkname); err == nil {
				link := b.tree.entries[clean(to)]
				link.Uid, link.Gid = o.uid, o.gid
			}
		default:
			var content []byte
			if content, err = io.ReadAll(b.tree.open(e)); err == nil {
				err = b.tree.put(to, mine, content)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// authorize writes ~/.ssh/authorized_keys, with the modes that sshd(8) asks for.
func (b *build) authorize(u request.User, account []string) error {
	if len(u.SSHKeys) == 0 {
		return nil
	}
	uid, gid, err := numbers(account[2], account[3])
	if err != nil {
		return err
	}
	dir := path.Join(account[5], ".ssh")
	if err := b.tree.mkdir(dir, owner{0o700, uid, gid}); err != nil {
		return err
	}
	if at, e := b.tree.lookup(dir); e != nil {
		private := *e
		private.Mode, private.Uid, private.Gid = 0o700, uid, gid
		b.tree.entries[at] = &private
	}
	return b.tree.put(dir+"/authorized_keys", owner{0o600, uid, gid}, []byte(plan.AuthorizedKeys(u)))
}
