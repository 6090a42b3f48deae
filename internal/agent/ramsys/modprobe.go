package ramsys

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/kmod"
)

// modprobeCommand is what the kernel runs as `modprobe -q -- NAME` for what it
// needs itself: file systems, character sets, ciphers
// (Documentation/admin-guide/sysctl/kernel.rst, "modprobe").
const modprobeCommand = "modprobe"

// setModprobe tells the kernel where it is.
func setModprobe() error {
	path := filepath.Join(commandDir, modprobeCommand)
	if err := os.WriteFile("/proc/sys/kernel/modprobe", []byte(path), 0o644); err != nil {
		return fmt.Errorf("set the kernel's modprobe: %w", err)
	}
	return nil
}

// modprobe loads modules. It knows the kernel's call and `modprobe NAME ...`; options
// are passed over.
func modprobe(ctx context.Context, args []string) error {
	return LoadModules(ctx, slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") })...)
}

// LoadModules loads modules by name or alias, as the kernel's command line says.
func LoadModules(ctx context.Context, names ...string) error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	tree, err := kmod.Open(modulesDir())
	if err != nil {
		return err
	}
	cmdline := ParseCmdline(string(line))
	modules, err := resolveAliases(tree, names, cmdline.Blacklist)
	if err != nil {
		return err
	}
	loader := kmod.Loader{Insert: kmod.Finit, Params: cmdline.ModuleParams, Parallel: 1}
	_, err = loader.Load(ctx, tree, modules...)
	return err
}

// resolveAliases turns names into modules. As in modprobe.d(5), a blacklisted
// module can be had by its name and not by an alias.
func resolveAliases(tree *kmod.Tree, names []string, blacklist map[string]bool) ([]string, error) {
	var modules, aliases []string
	for _, name := range names {
		if tree.Has(name) {
			modules = append(modules, name)
		} else {
			aliases = append(aliases, name)
		}
	}
	found, err := tree.Match(aliases)
	if err != nil {
		return nil, err
	}
	for _, alias := range aliases {
		if len(found[alias]) == 0 {
			return nil, fmt.Errorf("load module %s: no module of that name or alias", alias)
		}
		modules = append(modules, slices.DeleteFunc(found[alias], func(m string) bool { return blacklist[m] })...)
	}
	return modules, nil
}
