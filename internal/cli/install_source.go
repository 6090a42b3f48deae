package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/secret"
)

// installSource is what gets installed: an item to be built, or a payload that
// was built before.
type installSource struct {
	config  *config.Config // nil for a payload
	dir     string         // of the payload
	given   []string       // names of the secrets given for a payload
	secrets secret.Set     // the password is a hash
	machine vmOptions
}

// vmOptions are the options of the type vm.
type vmOptions struct {
	memory   int64 // bytes
	cpus     int64
	firmware string
}

// source is the item, with options that the layout adds, or a payload.
func (f *installFlags) source(a *app, item string, more []string) (installSource, error) {
	if st, err := os.Stat(filepath.Join(item, builder.PayloadFile)); err == nil && st.Mode().IsRegular() {
		return f.payloadSource(a, item)
	}
	// What a person says goes last: it wins.
	f.item.options = append(slices.Clone(more), f.item.options...)
	c, secrets, err := f.item.load(a, item)
	if err != nil {
		return installSource{}, err
	}
	if !c.Is("linux-distro") {
		return installSource{}, usage("`vic items` shows the types of each item", "item %s cannot be installed: it is not a linux-distro", item)
	}
	secrets, err = hashPassword(secrets)
	return installSource{config: c, secrets: secrets, machine: machineOptions(c)}, err
}

func machineOptions(c *config.Config) vmOptions {
	return vmOptions{memory: c.Size("memory"), cpus: c.Int("cpus"), firmware: c.String("firmware")}
}

// payloadSource takes a payload as it was built. Of the options only those of
// the virtual machine make sense: they are read from the item debian.
func (f *installFlags) payloadSource(a *app, dir string) (installSource, error) {
	if len(f.item.inline) > 0 {
		return installSource{}, usage("give it to vic build", "-n %s: %s was built already", f.item.inline[0], dir)
	}
	for _, o := range f.item.options {
		key, _, _ := strings.Cut(o, "=")
		if !slices.Contains([]string{"memory", "cpus", "firmware"}, key) {
			return installSource{}, usage("give it to vic build", "-o %s: %s was built already", o, dir)
		}
	}
	c, err := f.item.config(a, "debian")
	if err != nil {
		return installSource{}, err
	}
	given, err := f.item.secrets.read(a)
	if err != nil {
		return installSource{}, fail(exitUsage, err, "")
	}
	built, err := readSecrets(dir)
	if err != nil {
		return installSource{}, err
	}
	all, err := hashPassword(merge(built, given))
	return installSource{dir: dir, given: given.Names(), secrets: all, machine: machineOptions(c)}, err
}

// merge has the secrets of both; those given later win.
func merge(a, b secret.Set) secret.Set {
	for _, name := range b.Names() {
		v, _ := b.Get(name)
		a = a.With(name, v)
	}
	return a
}

// readSecrets reads what vic build wrote for the owner alone.
func readSecrets(dir string) (secret.Set, error) {
	path := filepath.Join(dir, builder.SecretsFile)
	in, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return secret.Set{}, nil
	}
	if err != nil {
		return secret.Set{}, fail(exitRefused, fmt.Errorf("read secrets: %w", err), "")
	}
	defer in.Close()
	st, err := in.Stat()
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		return secret.Set{}, fail(exitRefused, fmt.Errorf("read secrets: others than its owner can read %s (mode %04o)", path, st.Mode().Perm()),
			"`chmod 600 "+path+"`, and change the password if it may have been read")
	}
	var s secret.Set
	if err == nil {
		s, err = secret.Decode(in)
	}
	if err != nil {
		return secret.Set{}, fail(exitRefused, fmt.Errorf("%s: %w", path, err), "build the payload again")
	}
	return s, nil
}
