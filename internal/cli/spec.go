package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// passwordSecret is the secret that becomes the password of the account.
const passwordSecret = "password"

// payloadSpec is what the builder needs of an item that gets installed.
func payloadSpec(c *config.Config, secrets secret.Set, host request.APT) builder.PayloadSpec {
	packages := append(c.Select("packages"), c.List("packages")...)
	slices.Sort(packages)
	return builder.PayloadSpec{
		Item:     c.Item().Name,
		Suite:    c.String("suite"),
		Arch:     c.String("arch"),
		Packages: slices.Compact(packages),
		Units:    c.Select("units"),
		System:   system(c, secrets, host),
	}
}

// system is what the item wants of the installed system.
func system(c *config.Config, secrets secret.Set, host request.APT) request.System {
	user := request.User{Name: "root", SSHKeys: c.List("sshkey")}
	if name := c.String("username"); name != "" {
		user.Name, user.Sudo = name, name != "root"
	}
	if _, ok := secrets.Get(passwordSecret); ok {
		user.PasswordSecret = passwordSecret
	}
	return request.System{
		Hostname: c.String("hostname"),
		Timezone: c.String("timezone"),
		Locale:   c.String("locale"),
		Keymap:   c.String("keymap"),
		Users:    []request.User{user},
		Network:  request.Network{Mode: request.NetworkDHCP},
		APT: request.APT{
			Suite:    c.String("suite"),
			Mirror:   cmp.Or(c.String("apt-mirror"), host.Mirror),
			Security: cmp.Or(c.String("apt-security-mirror"), host.Security),
		},
		Cmdline: c.List("kernel-params"),
	}
}

// apt is what installed systems get packages from when their options do not
// say: the mirror of the build, and this machine's of security updates.
func (f *archiveFlags) apt() (request.APT, error) {
	main := f.mirror
	if main == "" {
		// That there is none is an error where packages are fetched.
		main, _ = deb.HostMirror("/")
	}
	security, err := deb.HostSecurityMirror("/")
	return request.APT{Mirror: remote(main), Security: remote(security)}, err
}

// remote is the URL, unless it is a folder of this machine.
func remote(url string) string {
	if strings.HasPrefix(url, "http") {
		return url
	}
	return ""
}

// installerSpec is what the builder needs of an item that runs in RAM.
func installerSpec(c *config.Config) builder.InstallerSpec {
	return builder.InstallerSpec{
		Item:     c.Item().Name,
		Suite:    installerSuite,
		Arch:     c.String("arch"),
		Kernel:   c.Select("kernel"),
		Packages: c.Select("packages"),
		Programs: c.Select("programs"),
		Files:    c.Select("files"),
		Modules:  c.Select("modules"),
		Firmware: c.Select("firmware"),
	}
}

// installerSuite is what the RAM system is made of, whatever it installs: its
// kernel has to mount erofs from a file (Linux 6.12).
const installerSuite = "trixie"

// defaultLayout is the layout for a whole disk.
func defaultLayout(arch string) (layout.Layout, error) {
	doc, err := images.Layout(images.DefaultLayout, arch)
	if err != nil {
		return layout.Layout{}, err
	}
	return layout.Parse(images.DefaultLayout+".yaml", doc)
}

// buildEnv is what builds need of this machine and of the archive flags.
func (f *archiveFlags) buildEnv(sink event.Sink) (builder.Env, error) {
	if err := f.check(); err != nil {
		return builder.Env{}, err
	}
	cache, err := f.cacheDir()
	if err != nil {
		return builder.Env{}, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return builder.Env{}, fmt.Errorf("make the cache: %w", err)
	}
	epoch, err := builder.SourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return builder.Env{}, fail(exitUsage, err, "")
	}
	apt, err := f.apt()
	if err != nil {
		return builder.Env{}, err
	}
	open, err := f.opener(cache, sink)
	return builder.Env{Cache: cache, Time: epoch, Host: tool.Exec{}, Archive: open, Sink: sink, APT: apt}, err
}

type archiveOpener = func(ctx context.Context, suite, arch string) (*deb.Archive, error)

// opener opens each suite once. The lock is for the artefact's own suite and
// architecture; the build's foreign programs come from the archive as it is.
func (f *archiveFlags) opener(cache string, sink event.Sink) (archiveOpener, error) {
	lock, err := f.readLock()
	if err != nil {
		return nil, err
	}
	mirror := f.mirror
	if mirror == "" && !f.offline {
		if mirror, err = deb.HostMirror("/"); err != nil {
			return nil, fail(exitUsage, err, "name one with --mirror URL or $VIC_MIRROR")
		}
	}
	opened := map[[2]string]*deb.Archive{}
	return func(ctx context.Context, suite, arch string) (*deb.Archive, error) {
		key := [2]string{suite, arch}
		if a := opened[key]; a != nil {
			return a, nil
		}
		cfg := deb.Config{
			Mirror: mirror, Suite: suite, Arch: arch, CacheDir: cache, Offline: f.offline,
			Components: []string{"main", "non-free-firmware"}, Progress: downloads(sink),
		}
		if f.keyring != "" {
			cfg.Keyrings = []string{f.keyring}
		}
		if lock != nil && lock.Suite == suite && lock.Arch == arch {
			cfg.Lock = lock
		}
		a, err := deb.Open(ctx, cfg)
		if err == nil {
			opened[key] = a
		}
		return a, err
	}, nil
}

func (f *archiveFlags) readLock() (*deb.Lock, error) {
	if f.lock == "" {
		return nil, nil
	}
	in, err := os.Open(f.lock)
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("read --lock: %w", err), "")
	}
	defer in.Close()
	lock, err := deb.ReadLock(in)
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("read --lock %s: %w", f.lock, err), "")
	}
	return lock, nil
}

// downloads turns the archive's progress into events.
func downloads(sink event.Sink) func(deb.Progress) {
	return func(p deb.Progress) {
		sink.Emit(event.Event{Phase: event.Build, Step: "download", State: event.Progress, Done: p.Done, Total: p.Total, Message: p.Name})
	}
}
