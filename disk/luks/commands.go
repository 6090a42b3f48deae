package luks

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/victorinix/vic/internal/tool"
)

// Container is where a LUKS container is.
type Container struct {
	Device string
	Header string // a detached header, a path; "" when it is on the device
}

func (c Container) header() []string {
	if c.Header == "" {
		return nil
	}
	return []string{"--header", c.Header}
}

// onHeader is the device with the header.
func (c Container) onHeader() string {
	if c.Header != "" {
		return c.Header
	}
	return c.Device
}

// stdin is a run of cryptsetup that reads its key from standard input.
func stdin(key []byte, args ...[]string) tool.Cmd {
	return tool.Cmd{Name: "cryptsetup", Args: slices.Concat(args...), Stdin: bytes.NewReader(key)}
}

// FormatCommand makes a container of LUKS2 that key opens. args are further
// ones for luksFormat; a detached header is made there.
func FormatCommand(c Container, uuid string, key []byte, args []string) tool.Cmd {
	return stdin(key, []string{"luksFormat", "--batch-mode", "--type", "luks2", "--uuid", uuid, "--key-file", "-"},
		c.header(), args, []string{c.Device})
}

// AddKeyCommand adds a key to a container that key opens. cryptsetup reads both
// from its standard input, the first one by its size.
func AddKeyCommand(c Container, key, added []byte, args []string) (tool.Cmd, error) {
	if len(key) == 0 || len(added) == 0 {
		return tool.Cmd{}, fmt.Errorf("add key to %s: an empty key cannot be told from none", c.Device)
	}
	return stdin(slices.Concat(key, added), []string{"luksAddKey", "--batch-mode", "--key-file", "-", "--keyfile-size", strconv.Itoa(len(key))},
		c.header(), args, []string{c.Device, "-"}), nil
}

// TestKeyCommand succeeds when key opens the container, and exits with
// NoSuchKey when it does not. Nothing is opened.
func TestKeyCommand(c Container, key []byte) tool.Cmd {
	return stdin(key, []string{"open", "--batch-mode", "--test-passphrase", "--type", "luks", "--key-file", "-"}, c.header(), []string{c.Device})
}

// NoSuchKey is the exit code of cryptsetup for a wrong passphrase.
const NoSuchKey = 2

// Options of an open container.
type Options struct {
	AllowDiscards    bool
	BypassWorkqueues bool
	Args             []string // further ones for open
}

// OpenCommand opens a container as /dev/mapper/NAME.
func OpenCommand(c Container, name string, key []byte, o Options) tool.Cmd {
	args := []string{"open", "--batch-mode", "--type", "luks", "--key-file", "-"}
	if o.AllowDiscards {
		args = append(args, "--allow-discards")
	}
	if o.BypassWorkqueues {
		args = append(args, "--perf-no_read_workqueue", "--perf-no_write_workqueue")
	}
	return stdin(key, args, c.header(), o.Args, []string{c.Device, name})
}

// CloseCommand closes /dev/mapper/NAME, of LUKS or plain.
func CloseCommand(name string) tool.Cmd {
	return tool.Cmd{Name: "cryptsetup", Args: []string{"close", name}}
}

// ResizeCommand gives an open container a size in sectors of 512 bytes; 0: all
// of its device. The key is needed where the kernel keeps the volume key.
func ResizeCommand(c Container, name string, sectors int64, key []byte) tool.Cmd {
	args := append([]string{"resize", "--batch-mode", "--key-file", "-"}, c.header()...)
	if sectors > 0 {
		args = append(args, "--size", strconv.FormatInt(sectors, 10))
	}
	return stdin(key, args, []string{name})
}

// DumpCommand prints the metadata of a LUKS2 container as JSON.
func DumpCommand(c Container) tool.Cmd {
	return tool.Cmd{Name: "cryptsetup", Args: []string{"luksDump", "--dump-json-metadata", c.onHeader()}}
}
