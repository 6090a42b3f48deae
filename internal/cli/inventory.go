package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/internal/remote"
)

// machineSpec is what is different about one of several machines: a --on, or an
// entry of an inventory.
type machineSpec struct {
	On      string         `yaml:"on"`
	Disk    words          `yaml:"disk"`
	NIC     words          `yaml:"nic"`
	Options map[string]any `yaml:"options"`
	// Secrets are NAME: "@FILE", "env:VAR" or a value, as after -s NAME=.
	Secrets map[string]string `yaml:"secrets"`

	host remote.Host
}

// words is a list that may be written as one word.
type words []string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (w *words) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*w = words{one}
		return nil
	}
	return unmarshal((*[]string)(w))
}

// maxInventory is the largest one that is read, in bytes.
const maxInventory = 1 << 20

// readInventory reads a YAML list of machines.
func readInventory(path string) ([]machineSpec, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxInventory {
		err = fmt.Errorf("%s has %d bytes, at most %d are read", path, st.Size(), maxInventory)
	}
	if err != nil {
		return nil, usage("", "--inventory: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("", "--inventory: %w", err)
	}
	var list []machineSpec
	if err := yaml.UnmarshalWithOptions(text, &list, yaml.Strict()); err != nil {
		return nil, usage("a list of machines: - {on: root@web1, disk: /dev/sda, options: {hostname: web1}}",
			"--inventory %s: %s", path, yaml.FormatError(err, false, true))
	}
	if len(list) == 0 {
		return nil, usage("", "--inventory %s: it lists no machine", path)
	}
	return list, nil
}

// machines are all that an install is for.
func (f *onFlags) machines() ([]machineSpec, error) {
	var list []machineSpec
	for _, on := range f.hosts {
		list = append(list, machineSpec{On: on})
	}
	if f.inventory != "" {
		more, err := readInventory(f.inventory)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	var errs []error
	seen := map[string]bool{}
	for i, m := range list {
		host, err := remote.Parse(m.On)
		switch {
		case err != nil:
			errs = append(errs, usage("", "--on %w", err))
		case seen[host.String()]:
			errs = append(errs, usage("", "%s is named twice", host))
		}
		seen[host.String()] = true
		list[i].host = host
	}
	return list, errors.Join(errs...)
}

// apply adds what is different about a machine to the flags for all.
func (m machineSpec) apply(all installFlags) (installFlags, error) {
	f := all
	f.item.options = append([]string{}, all.item.options...)
	f.item.inline = append([]string{}, all.item.inline...)
	f.item.secrets.args = append([]string{}, all.item.secrets.args...)
	if len(m.Options) > 0 {
		// -o comes after -n, and what is one machine's own wins.
		f.item.options = slices.DeleteFunc(f.item.options, func(o string) bool {
			key, _, _ := strings.Cut(o, "=")
			_, own := m.Options[key]
			return own
		})
		text, err := yaml.MarshalWithOptions(m.Options, yaml.JSON())
		if err != nil {
			return f, fmt.Errorf("options of %s: %w", m.host, err)
		}
		f.item.inline = append(f.item.inline, string(text))
	}
	for name, value := range m.Secrets {
		f.item.secrets.args = append(f.item.secrets.args, name+"="+value)
	}
	if len(m.Disk) > 0 {
		f.layout.disks = m.Disk
	}
	if len(m.NIC) > 0 {
		f.nics = m.NIC
	}
	return f, nil
}
