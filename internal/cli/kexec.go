package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/kexec"
)

type kexecFlags struct {
	cmdline string
	load    bool
	yes     bool
}

func newKexec(a *app) *cobra.Command {
	var f kexecFlags
	cmd := &cobra.Command{
		Use:   "kexec DIR",
		Short: "Leave this system for the RAM system of a bundle",
		Long: `Start the RAM system that vic build installer wrote to DIR, in place of the
system that runs now: without firmware and boot loader, and without writing to
any disk. The next reset or power cycle brings the old system back.

Every file of the bundle is verified, memory and permission are looked at first.
A system with systemd is shut down in order; on others all file systems are made
read-only.`,
		Example: `  vic build installer --out out/installer && vic kexec out/installer
  vic kexec out/installer --cmdline 'console=ttyS0,115200' --yes
  vic kexec out/installer --load    # systemctl kexec then starts it`,
		Args: args("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.cmdline, "cmdline", "", "add `WORDS` to the kernel command line; consoles of this system are kept without it")
	flags.BoolVar(&f.load, "load", false, "load it and stay")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before this system ends")
	return cmd
}

func (f *kexecFlags) run(ctx context.Context, a *app, dir string) error {
	b, err := builder.OpenBundle(dir)
	if err != nil {
		return fail(exitRefused, err, "`vic build installer --out DIR` makes a bundle")
	}
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/", Only: []string{"os", "hw.arch", "hw.memory.total", "state.memoryAvailable"}})
	if err != nil {
		return err
	}
	memory, err := b.Memory()
	if err != nil {
		return err
	}
	if err := handover.MayEnter(handover.Need{Arch: b.Arch, Load: memory.Load, Total: memory.Total}, facts); err != nil {
		return fail(exitRefused, err, "nothing was changed")
	}
	if !f.yes && !f.load {
		const loss = "This ends the running system and all that it does; nothing is written to its disks.\n"
		if err := a.confirm(loss, facts.OS.Hostname); err != nil {
			return err
		}
	}
	cmdline := b.Cmdline + " " + f.words(facts.OS.Cmdline)
	method, err := loadBundle(b, strings.TrimSpace(cmdline))
	if err != nil {
		return fail(exitRefused, err, "nothing was changed")
	}
	fmt.Fprintf(a.stderr, "loaded kernel %s with %s\n", b.Kernel, method)
	if f.load {
		return nil
	}
	if err := kexec.Running(tool.Exec{}).Leave(ctx); err != nil {
		return errors.Join(err, kexec.Unload())
	}
	return nil
}

// words are those that a person adds, and otherwise the consoles of the running
// kernel: who watches this system sees the next one.
func (f *kexecFlags) words(running string) string {
	if f.cmdline != "" {
		return f.cmdline
	}
	return strings.Join(consoles(strings.Fields(running)), " ")
}

// loadBundle puts the initrd together in memory: no disk is written to.
func loadBundle(b *builder.Bundle, cmdline string) (method kexec.Method, err error) {
	kernel, err := os.Open(b.Path(builder.KernelFile))
	if err != nil {
		return "", err
	}
	defer kernel.Close()
	initrd, err := kexec.Memory("vic-initrd")
	if err != nil {
		return "", err
	}
	defer initrd.Close()
	if err := b.Initrd(initrd); err != nil {
		return "", err
	}
	return kexec.Load(kexec.Kernel{Image: kernel, Initrd: initrd, Cmdline: cmdline})
}
