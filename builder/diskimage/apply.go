package diskimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
	"github.com/victorinix/vic/internal/tool"
)

// do executes one action on the tree.
func (b *build) do(ctx context.Context, action plan.Action) error {
	switch a := action.(type) {
	case plan.WriteFile:
		return b.tree.put(a.Path, owner{mode: int64(a.Mode)}, []byte(a.Content))
	case plan.Symlink:
		return b.tree.symlink(a.Path, a.Target)
	case plan.AddUser:
		return b.addUser(a.User)
	case plan.PutFile:
		return b.putFile(a)
	case plan.EnableUnit:
		return b.enable(ctx, a.Name)
	case plan.Locale:
		return b.locale(a.Name)
	case plan.SystemdBoot:
		return b.systemdBoot(a)
	case plan.Initramfs:
		return b.entry(a.Release)
	case plan.GRUB:
		return b.grub(ctx, a)
	case plan.CheckBoot:
		return b.checkBoot(a)
	}
	return fmt.Errorf("no way to do %q in an image", action.Kind())
}

func (b *build) reveal(name string) (string, error) {
	if b.config.Secret != nil {
		if v, ok := b.config.Secret(name); ok {
			return v, nil
		}
	}
	return "", errors.New("it was not given")
}

// putFile writes a file of the item, with its secrets in their places.
func (b *build) putFile(a plan.PutFile) error {
	content, err := template.Fill(a.Content, b.reveal)
	if err != nil {
		return err
	}
	uid, gid, err := b.tree.ids(a.Owner, a.Group)
	if err != nil {
		return err
	}
	return b.tree.put(a.Path, owner{int64(a.Mode), uid, gid}, content)
}

// locale notes a locale that the tree was made with.
func (b *build) locale(name string) error {
	if have := b.config.Tree.Locale; have != name {
		return fmt.Errorf("the root file system was made with the locale %s", have)
	}
	return b.tree.put("/etc/locale.gen", owner{mode: 0o644}, []byte(request.LocaleGen(name)))
}

// unitDirs are what systemctl looks at to enable a unit.
var unitDirs = []string{"etc/systemd", "usr/lib/systemd/system", "usr/lib/systemd/system-preset"}

// enable has systemctl(1) of the archive enable a unit in a copy of the unit
// files, and takes over the links that it has made.
func (b *build) enable(ctx context.Context, unit string) error {
	systemctl, err := b.programs(ctx, "", "systemd")
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp(b.tmp, "units-")
	if err != nil {
		return err
	}
	if err := b.copyOut(root); err != nil {
		return fmt.Errorf("copy unit files: %w", err)
	}
	_, err = systemctl.Run(ctx, tool.Cmd{Name: "systemctl", Args: []string{"--root=" + root, "enable", "--", unit}, Env: []string{"SYSTEMCTL_SKIP_SYSV=1"}})
	if err != nil {
		return err
	}
	return b.takeLinks(root)
}

func (b *build) copyOut(root string) error {
	for _, dir := range unitDirs {
		for _, name := range b.tree.below(dir) {
			e, at := b.tree.entries[name], filepath.Join(root, name)
			var err error
			switch e.Typeflag {
			case tar.TypeDir:
				err = os.MkdirAll(at, 0o755)
			case tar.TypeSymlink:
				err = os.Symlink(e.Linkname, at)
			case tar.TypeReg, tar.TypeLink:
				var content []byte
				if content, err = io.ReadAll(b.tree.open(e)); err == nil {
					err = os.WriteFile(at, content, 0o600)
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// takeLinks adds the links that are below root/etc/systemd and not in the tree.
func (b *build) takeLinks(root string) error {
	return filepath.WalkDir(filepath.Join(root, "etc/systemd"), func(at string, d os.DirEntry, err error) error {
		if err != nil || d.Type() != os.ModeSymlink {
			return err
		}
		name := strings.TrimPrefix(at, root)
		to, err := os.Readlink(at)
		if old := b.tree.entries[clean(name)]; err != nil || old != nil && old.Linkname == to {
			return err
		}
		return b.tree.symlink(name, strings.TrimPrefix(to, root))
	})
}

// ids finds the numbers of an owner and a group; see plan.PutFile.
func (t *tree) ids(user, group string) (uid, gid int, err error) {
	if n, err := strconv.Atoi(user); err == nil {
		uid, gid = n, n
	} else {
		line, err := t.line("/etc/passwd", user, 7)
		if err != nil {
			return 0, 0, fmt.Errorf("find owner %s: %w", user, err)
		}
		if uid, gid, err = numbers(line[2], line[3]); err != nil {
			return 0, 0, fmt.Errorf("find owner %s: %w", user, err)
		}
	}
	if group == "" {
		return uid, gid, nil
	}
	if gid, err = strconv.Atoi(group); err == nil {
		return uid, gid, nil
	}
	line, err := t.line("/etc/group", group, 4)
	if err == nil {
		gid, err = strconv.Atoi(line[2])
	}
	if err != nil {
		return 0, 0, fmt.Errorf("find group %s: %w", group, err)
	}
	return uid, gid, nil
}

func numbers(a, b string) (x, y int, err error) {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	return x, y, errors.Join(errX, errY)
}

var errNoEntry = errors.New("there is no such account")

// line is the entry of a name in a file such as passwd(5), in its fields.
func (t *tree) line(file, name string, fields int) ([]string, error) {
	content, err := t.read(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(content)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) == fields && f[0] == name {
			return f, nil
		}
	}
	return nil, errNoEntry
}

// home is where a path of an account begins.
func home(dir string, name ...string) string {
	return path.Join(append([]string{"/", dir}, name...)...)
}
