package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/template"
	"github.com/victorinix/vic/internal/tool"
)

// putFile writes a file of the item. Only here do secrets take their places in
// it.
func (t target) putFile(a plan.PutFile, secrets secret.Set) error {
	if err := plain(a.Path); err != nil {
		return fmt.Errorf("write %q: %w", a.Path, err)
	}
	content, err := template.Fill(a.Content, func(name string) (string, error) {
		v, ok := secrets.Get(name)
		if !ok {
			return "", errors.New("it was not delivered")
		}
		return v.Reveal(), nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", a.Path, err)
	}
	uid, gid, err := t.owner(a.Owner, a.Group)
	if err != nil {
		return fmt.Errorf("write %s: %w", a.Path, err)
	}
	return t.put(a.Path, file{mode: a.Mode, uid: uid, gid: gid, content: bytes.NewReader(content)})
}

// owner finds the numbers of an owner and a group in the target. No group is
// the owner's own; that of a number without an account is the same number.
func (t target) owner(user, group string) (uid, gid int, err error) {
	if number, err := strconv.Atoi(user); err == nil {
		uid, gid = number, number
	} else {
		a, ok, err := t.account(user)
		if err == nil && !ok {
			err = errors.New("there is no such account")
		}
		if err != nil {
			return 0, 0, fmt.Errorf("find owner %s: %w", user, err)
		}
		uid, gid = a.uid, a.gid
	}
	if group != "" {
		gid, err = t.group(group)
	}
	return uid, gid, err
}

// group looks a group up in the target, or reads its number.
func (t target) group(name string) (gid int, err error) {
	if number, err := strconv.Atoi(name); err == nil {
		return number, nil
	}
	b, err := t.read("/etc/group")
	if err != nil {
		return 0, fmt.Errorf("find group %s: %w", name, err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) != 4 || f[0] != name {
			continue
		}
		if gid, err = strconv.Atoi(f[2]); err != nil {
			return 0, fmt.Errorf("find group %s: %w", name, err)
		}
		return gid, nil
	}
	return 0, fmt.Errorf("find group %s: there is no such group", name)
}

// enableUnit enables a unit by the target's own systemctl, which needs no
// running systemd for it.
func (t target) enableUnit(ctx context.Context, name string) error {
	err := t.inside(ctx, func() error {
		_, err := t.run(ctx, tool.Cmd{Name: "systemctl", Args: []string{"enable", "--", name}})
		return err
	})
	if err != nil {
		return fmt.Errorf("enable %s: %w", name, err)
	}
	return nil
}
