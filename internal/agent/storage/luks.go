package storage

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/disk/luks"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// container is where a LUKS container is, and where its header.
func (e *Executor) container(d plan.Device, header string) (luks.Container, string, error) {
	path, err := e.path(d)
	c := luks.Container{Device: path, Header: header}
	if header != "" {
		return c, header, err
	}
	return c, path, err
}

func (e *Executor) luksFormat(a plan.LUKSFormat) maker {
	return maker{
		on: []plan.Device{a.Device}, name: "mapper/" + a.Name, clear: true,
		look: func(context.Context) (look, error) {
			_, at, err := e.container(a.Device, a.Header)
			if err != nil {
				return look{}, err
			}
			l, err := e.lookAt(at, "crypto_LUKS", a.UUID)
			if a.Header != "" && missing(err) { // it is made with the container
				return look{}, nil
			}
			return l, err
		},
		make: func(ctx context.Context, _ []string) error {
			c, _, err := e.container(a.Device, a.Header)
			if err != nil {
				return err
			}
			keys, err := e.keys(append([]plan.KeyFile{a.Key}, a.Additional...))
			if err != nil {
				return err
			}
			memory, err := e.Machine.Memory()
			if err != nil {
				return fmt.Errorf("read available memory: %w", err)
			}
			return e.Machine.LUKSFormat(ctx, c, a.UUID, append(pbkdfArgs(a.Args, memory), a.Args...), keys...)
		},
	}
}

// The memory that cryptsetup takes for a key by default, and the least that
// still makes guessing expensive, in KiB.
const (
	pbkdfDefault = 1 << 20
	pbkdfLeast   = 16 << 10
)

// pbkdfArgs bounds the memory that Argon2 takes to half of what is available:
// cryptsetup looks at how much there is in all, and is killed for it in the RAM
// system of a small machine. What the layout says about it stands.
func pbkdfArgs(args []string, available int64) []string {
	given := slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "--pbkdf") || strings.HasPrefix(a, "--iter-time") || strings.HasSuffix(a, "luks1")
	})
	kib := available / 2 >> 10
	if given || kib >= pbkdfDefault {
		return nil
	}
	return []string{"--pbkdf-memory", strconv.FormatInt(max(kib, pbkdfLeast), 10)}
}

// luksOpen opens a container, or sees that the right one is open.
func (e *Executor) luksOpen(a plan.LUKSOpen) work {
	return always(func(ctx context.Context) error {
		c, at, err := e.container(a.Device, a.Header)
		if err != nil {
			return err
		}
		l, err := e.lookAt(at, "crypto_LUKS", a.UUID)
		if err != nil {
			return err
		}
		if !l.same {
			return fmt.Errorf("open %s: it holds %s, and not the LUKS container %s", a.Device, l.orNothing(), a.UUID)
		}
		key, err := e.key(a.Key)
		if err != nil {
			return err
		}
		return e.Machine.LUKSOpen(ctx, c, a.Name, key, luks.Options{
			AllowDiscards: a.AllowDiscards, BypassWorkqueues: a.BypassWorkqueues, Args: a.Args,
		})
	})
}

func (l look) orNothing() string {
	if l.what == "" {
		return "nothing that is known"
	}
	return l.what
}
