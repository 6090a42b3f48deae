package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// account is a line of passwd(5).
type account struct {
	name     string
	uid, gid int
	home     string
}

// account looks a user up in the target; ok is false when there is none.
func (t target) account(name string) (a account, ok bool, err error) {
	b, err := t.read("/etc/passwd")
	if err != nil {
		return a, false, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) != 7 || f[0] != name {
			continue
		}
		a.name, a.home = f[0], f[5]
		var bad1, bad2 error
		a.uid, bad1 = strconv.Atoi(f[2])
		a.gid, bad2 = strconv.Atoi(f[3])
		return a, true, errors.Join(bad1, bad2)
	}
	return a, false, nil
}

// addUser makes or changes an account by the target's own programs.
func (t target) addUser(ctx context.Context, u request.User, secrets secret.Set) error {
	hash, err := passwordHash(u, secrets)
	if err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	err = t.inside(ctx, func() error {
		_, exists, err := t.account(u.Name)
		if err != nil {
			return err
		}
		for _, c := range userCommands(u, exists, hash) {
			if _, err := t.run(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	if err := t.sudoers(u); err != nil {
		return err
	}
	return t.authorize(u)
}

// passwordHash is the hash for shadow(5), or nil when the account has no
// password.
func passwordHash(u request.User, secrets secret.Set) (*secret.Value, error) {
	if u.PasswordSecret == "" {
		return nil, nil
	}
	v, ok := secrets.Get(u.PasswordSecret)
	if !ok {
		return nil, fmt.Errorf("secret %q was not delivered", u.PasswordSecret)
	}
	hash, err := secret.HashPassword(v)
	return &hash, err
}

// userCommands are the programs to run in the target. The hash goes through
// standard input: command lines can be read by everyone.
func userCommands(u request.User, exists bool, hash *secret.Value) []tool.Cmd {
	var cmds []tool.Cmd
	groups := []string(nil)
	if u.Sudo && u.Name != "root" {
		groups = []string{"--groups", "sudo"}
	}
	switch {
	case !exists:
		args := slices.Concat([]string{"--create-home", "--shell", "/bin/bash"}, groups, []string{u.Name})
		cmds = append(cmds, tool.Cmd{Name: "useradd", Args: args})
	case groups != nil:
		cmds = append(cmds, tool.Cmd{Name: "usermod", Args: slices.Concat([]string{"--append"}, groups, []string{u.Name})})
	}
	if hash != nil {
		line := u.Name + ":" + hash.Reveal() + "\n"
		return append(cmds, tool.Cmd{Name: "chpasswd", Args: []string{"-e"}, Stdin: strings.NewReader(line)})
	}
	if exists {
		cmds = append(cmds, tool.Cmd{Name: "usermod", Args: []string{"--lock", u.Name}})
	}
	return cmds
}

// sudoers lets an account without password use sudo.
func (t target) sudoers(u request.User) error {
	name, content, ok := plan.Sudoers(u)
	if !ok {
		return nil
	}
	return t.put(name, file{mode: 0o440, content: strings.NewReader(content)})
}

// authorize writes ~/.ssh/authorized_keys with the modes and the owner that
// sshd(8) asks for. It replaces what the payload may have there.
func (t target) authorize(u request.User) error {
	if len(u.SSHKeys) == 0 {
		return nil
	}
	a, ok, err := t.account(u.Name)
	if err == nil && !ok {
		err = errors.New("no such account")
	}
	if err != nil {
		return fmt.Errorf("authorize keys of %s: %w", u.Name, err)
	}
	ssh, err := t.sshDir(a)
	if err != nil {
		return fmt.Errorf("authorize keys of %s: %w", u.Name, err)
	}
	defer ssh.Close()
	if err := putAt(ssh, "authorized_keys", file{0o600, a.uid, a.gid, strings.NewReader(plan.AuthorizedKeys(u))}); err != nil {
		return fmt.Errorf("authorize keys of %s: %w", u.Name, err)
	}
	return nil
}

// sshDir opens ~/.ssh, and makes it the account's own.
func (t target) sshDir(a account) (*os.File, error) {
	home, err := t.root.OpenDir(a.home)
	if err != nil {
		return nil, err
	}
	defer home.Close()
	if err := within.Mkdirat(home, ".ssh", 0o700, a.uid, a.gid); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(home.Fd()), ".ssh", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path.Join(a.home, ".ssh"), Err: err}
	}
	ssh := os.NewFile(uintptr(fd), path.Join(a.home, ".ssh"))
	if err := errors.Join(ssh.Chown(a.uid, a.gid), ssh.Chmod(0o700)); err != nil {
		return nil, errors.Join(err, ssh.Close())
	}
	return ssh, nil
}
