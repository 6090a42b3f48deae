// Package luks makes, opens and resizes LUKS containers with cryptsetup.
//
// Keys reach cryptsetup on its standard input alone: never on a command line,
// where other users would read them, and never in a file. Where a key comes
// from is the caller's business, and so is which part of a key file counts.
package luks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/victorinix/vic/disk/dm"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
)

// ErrWrongKey is wrapped when a key opens none of a container's slots.
var ErrWrongKey = errors.New("the key does not open it")

// ErrNone is wrapped when there is no LUKS header.
var ErrNone = errors.New("no LUKS header")

// run runs a command, with or without udev.
func run(ctx context.Context, r tool.Runner, c tool.Cmd) (tool.Output, error) {
	c.Env = append(c.Env, udev.Env()...)
	out, err := r.Run(ctx, c)
	var te *tool.Error
	if errors.As(err, &te) && te.Exit == NoSuchKey {
		err = fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	return out, err
}

// Format makes a container with all its keys, the first of which opens it to
// add the others. What args say of the key derivation holds for all of them.
func Format(ctx context.Context, r tool.Runner, c Container, uuid string, args []string, keys ...[]byte) error {
	if len(keys) == 0 {
		return fmt.Errorf("make LUKS on %s: no key", c.Device)
	}
	if _, err := run(ctx, r, FormatCommand(c, uuid, keys[0], args)); err != nil {
		return fmt.Errorf("make LUKS on %s: %w", c.Device, err)
	}
	return AddKeys(ctx, r, c, args, keys[0], keys[1:]...)
}

// AddKeys adds the keys that do not open the container yet. args are those of
// Format.
func AddKeys(ctx context.Context, r tool.Runner, c Container, args []string, key []byte, added ...[]byte) error {
	for _, k := range added {
		if has, err := HasKey(ctx, r, c, k); err != nil {
			return err
		} else if has {
			continue
		}
		cmd, err := AddKeyCommand(c, key, k, derivation(args))
		if err == nil {
			_, err = run(ctx, r, cmd)
		}
		if err != nil {
			return fmt.Errorf("add key to %s: %w", c.Device, err)
		}
	}
	return nil
}

// derivation picks the arguments of luksFormat that luksAddKey takes as well:
// how hard a key is to guess.
func derivation(args []string) []string {
	var list []string
	for i := 0; i < len(args); i++ {
		name, _, attached := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "--pbkdf") && name != "--iter-time" && name != "-i" {
			continue
		}
		list = append(list, args[i])
		if !attached && i+1 < len(args) {
			i++
			list = append(list, args[i])
		}
	}
	return list
}

// HasKey says whether a key opens a container.
func HasKey(ctx context.Context, r tool.Runner, c Container, key []byte) (bool, error) {
	_, err := run(ctx, r, TestKeyCommand(c, key))
	if errors.Is(err, ErrWrongKey) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("try key of %s: %w", c.Device, err)
	}
	return true, nil
}

// Find is the mapping of that name; not found when it is not open.
func Find(name string) (dm.Mapping, bool, error) { return dm.Find(sysfs.Root("/"), name) }

// Open opens a container as /dev/mapper/NAME and returns that node. When it is
// open under that name already, it does nothing; when something else is, that
// is an error.
func Open(ctx context.Context, r tool.Runner, c Container, name string, key []byte, o Options) (string, error) {
	node := "/dev/mapper/" + name
	id, err := UUID(c)
	if err != nil {
		return "", err
	}
	m, open, err := Find(name)
	switch {
	case err != nil:
		return "", err
	case open && m.LUKS() == id:
		return existing(node, m.Node()), nil
	case open:
		return "", fmt.Errorf("open %s as %s: that name is taken by %s", c.Device, name, m.UUID)
	}
	if _, err := run(ctx, r, OpenCommand(c, name, key, o)); err != nil {
		return "", fmt.Errorf("open %s as %s: %w", c.Device, name, err)
	}
	if err := udev.Settle(ctx, r); err != nil {
		return "", err
	}
	return node, nil
}

// existing is the first node that is there.
func existing(node, otherwise string) string {
	if _, err := os.Stat(node); err != nil {
		return otherwise
	}
	return node
}

// Close closes a container; no error when it is not open.
func Close(ctx context.Context, r tool.Runner, name string) error {
	if _, open, err := Find(name); err != nil || !open {
		return err
	}
	if _, err := run(ctx, r, CloseCommand(name)); err != nil {
		return fmt.Errorf("close /dev/mapper/%s: %w", name, err)
	}
	return udev.Settle(ctx, r)
}

// UUID reads a container's UUID: at byte 168 in LUKS1 and in LUKS2.
func UUID(c Container) (string, error) {
	b := make([]byte, 208)
	f, err := os.Open(c.onHeader())
	if err != nil {
		return "", fmt.Errorf("read LUKS header: %w", err)
	}
	_, err = io.ReadFull(f, b)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read LUKS header of %s: %w", c.onHeader(), err)
	}
	if string(b[:6]) != "LUKS\xba\xbe" {
		return "", fmt.Errorf("read LUKS header of %s: %w", c.onHeader(), ErrNone)
	}
	id, _, _ := strings.Cut(string(b[168:]), "\x00")
	return id, nil
}

// segment is where the encrypted data is, in LUKS2's JSON: sizes in bytes.
type segment struct {
	Offset     string `json:"offset"`
	Size       string `json:"size"`
	SectorSize int64  `json:"sector_size"`
}

// Layout is the place of a container's data on its device.
type Layout struct {
	Offset     int64 // of the data, bytes: 0 with a detached header
	SectorSize int64 // of the encryption, bytes
}

// ReadLayout reads where the data of a LUKS2 container is.
func ReadLayout(ctx context.Context, r tool.Runner, c Container) (Layout, error) {
	out, err := run(ctx, r, DumpCommand(c))
	if err != nil {
		return Layout{}, fmt.Errorf("read LUKS header of %s: %w", c.Device, err)
	}
	l, err := parseLayout(out.Stdout)
	if err != nil {
		return l, fmt.Errorf("read LUKS header of %s: %w", c.Device, err)
	}
	return l, nil
}

func parseLayout(dump []byte) (Layout, error) {
	var meta struct {
		Segments map[string]segment `json:"segments"`
	}
	if err := json.Unmarshal(dump, &meta); err != nil {
		return Layout{}, err
	}
	s, ok := meta.Segments["0"]
	if !ok || len(meta.Segments) != 1 || s.Size != "dynamic" {
		return Layout{}, errors.New("its data is not one piece that goes to the end of the device")
	}
	off, err := strconv.ParseInt(s.Offset, 10, 64)
	if err != nil || off < 0 || s.SectorSize < 512 {
		return Layout{}, fmt.Errorf("data at %q in sectors of %d", s.Offset, s.SectorSize)
	}
	return Layout{off, s.SectorSize}, nil
}

// Resize gives an open container's mapping a size in bytes, rounded down to
// its sectors; size 0 is all of its device. It returns the size that it has
// then. The size is the kernel's alone: the next time it is opened, it takes
// all of its device again, so the device is shrunk after it and grown before.
func Resize(ctx context.Context, r tool.Runner, c Container, name string, key []byte, size int64) (int64, error) {
	m, open, err := Find(name)
	if err != nil {
		return 0, err
	}
	if !open {
		return 0, fmt.Errorf("resize /dev/mapper/%s: it is not open", name)
	}
	l, err := ReadLayout(ctx, r, c)
	if err != nil {
		return 0, err
	}
	now, err := sysfs.Root("/").Number("sys/block", m.Kernel, "size")
	if err != nil {
		return 0, fmt.Errorf("resize /dev/mapper/%s: %w", name, err)
	}
	size -= size % l.SectorSize
	if size == now*512 && size > 0 {
		return size, nil
	}
	if _, err := run(ctx, r, ResizeCommand(c, name, size/512, key)); err != nil {
		return 0, fmt.Errorf("resize /dev/mapper/%s to %d bytes: %w", name, size, err)
	}
	now, err = sysfs.Root("/").Number("sys/block", m.Kernel, "size")
	if err != nil {
		return 0, fmt.Errorf("resize /dev/mapper/%s: %w", name, err)
	}
	if size > 0 && now*512 != size {
		return now * 512, fmt.Errorf("resize /dev/mapper/%s to %d bytes: it has %d", name, size, now*512)
	}
	return now * 512, nil
}
