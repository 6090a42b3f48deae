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
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// passwordSecret is the secret that becomes the password of the account.
const passwordSecret = "password"

// payloadSpec is what the builder needs of an item that gets installed.
func payloadSpec(c *config.Config, secrets secret.Set, host request.APT) (builder.PayloadSpec, error) {
	features, err := featuresOf(c)
	packages := append(c.Select("packages"), c.List("packages")...)
	slices.Sort(packages)
	return builder.PayloadSpec{
		Item:     c.Item().Name,
		Suite:    c.String("suite"),
		Arch:     c.String("arch"),
		Packages: slices.Compact(packages),
		Units:    c.Select("units"),
		Features: features,
		System:   system(c, secrets, host),
	}, err
}

// featuresOf is the option tools, for the kernel that was chosen.
func featuresOf(c *config.Config) ([]builder.Feature, error) {
	features, err := builder.ParseFeatures(c.List("tools"), c.String("kernel"))
	return features, fail(exitUsage, err, "`vic options "+c.Item().Name+"` lists the values of tools")
}

// system is what the item wants of the installed system. What depends on the
// machine is a template in it.
func system(c *config.Config, secrets secret.Set, host request.APT) request.System {
	user := request.User{Name: "root", SSHKeys: c.List("sshkey")}
	if name := c.Template("username"); name != "" {
		user.Name, user.Sudo = name, name != "root"
	}
	if _, ok := secrets.Get(passwordSecret); ok {
		user.PasswordSecret = passwordSecret
	}
	return request.System{
		Hostname: c.Template("hostname"),
		Timezone: c.Template("timezone"),
		Locale:   c.String("locale"),
		Keymap:   c.String("keymap"),
		Users:    []request.User{user},
		Network:  request.Network{Mode: request.NetworkDHCP, NICs: nicNames(c)},
		APT: request.APT{
			Suite:    c.String("suite"),
			Mirror:   cmp.Or(c.Template("apt-mirror"), host.Mirror),
			Security: cmp.Or(c.Template("apt-security-mirror"), host.Security),
		},
		Cmdline:  c.Templates("kernel-params"),
		Board:    boardOf(c),
		Requires: c.Requires(),
		Options:  c.Options(),
		Files:    c.Files(),
		Units:    c.Units(),
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
	return request.APT{Mirror: remoteURL(main), Security: remoteURL(security)}, err
}

// remoteURL is the URL, unless it is a folder of this machine.
func remoteURL(url string) string {
	if strings.HasPrefix(url, "http") {
		return url
	}
	return ""
}

// installerSpec is what the builder needs of an item that runs in RAM.
func installerSpec(c *config.Config) (builder.InstallerSpec, error) {
	features, err := featuresOf(c)
	return builder.InstallerSpec{
		Item:     c.Item().Name,
		Suite:    installerSuite,
		Arch:     c.String("arch"),
		Kernel:   c.Select("kernel"),
		Packages: c.Select("packages"),
		Programs: c.Select("programs"),
		Files:    c.Select("files"),
		Modules:  c.Select("modules"),
		Early:    c.List("initramfs-modules"),
		Firmware: c.Select("firmware"),
		Features: features,
		Vic:      buildInfo().Version,
	}, err
}

// installerSuite is what the RAM system is made of, whatever it installs: its
// kernel has to mount erofs from a file (Linux 6.12).
const installerSuite = "trixie"

// archiveOf is the part of the archive that an item is made of.
type archiveOf struct{ suite, arch string }

func origin(c *config.Config) archiveOf {
	if c.Is("linux-distro") {
		return archiveOf{c.String("suite"), c.String("arch")}
	}
	return archiveOf{installerSuite, c.String("arch")}
}

// buildEnv is what the build of an artefact needs of this machine and of the
// archive flags.
func (f *archiveFlags) buildEnv(sink event.Sink, of archiveOf) (builder.Env, error) {
	if err := f.check(); err != nil {
		return builder.Env{}, err
	}
	epoch, err := builder.SourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return builder.Env{}, fail(exitUsage, err, "")
	}
	lock, err := f.readLock(of)
	if err != nil {
		return builder.Env{}, err
	}
	cfg, err := f.archiveConfig(sink)
	if err != nil {
		return builder.Env{}, err
	}
	apt, err := f.apt()
	if err != nil {
		return builder.Env{}, err
	}
	env := builder.Env{Cache: cfg.CacheDir, Time: epoch, Host: tool.Exec{}, Sink: sink, Tools: openOnce(cfg), APT: apt}
	env.Archive = env.Tools
	if lock != nil {
		cfg.Lock = lock
		env.Archive = openOnce(cfg)
	}
	return env, nil
}

// archiveConfig is the archive without a suite; the cache is made.
func (f *archiveFlags) archiveConfig(sink event.Sink) (deb.Config, error) {
	cfg := deb.Config{
		Mirror: f.mirror, Offline: f.offline,
		Components: []string{"main", "non-free-firmware"}, Progress: downloads(sink),
	}
	var err error
	if cfg.CacheDir, err = f.cacheDir(); err != nil {
		return cfg, err
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
		return cfg, fail(exitRefused, fmt.Errorf("make the cache: %w", err), "name another folder with --cache DIR")
	}
	// The cache knows what came from which mirror, so offline needs it too.
	if cfg.Mirror == "" {
		if cfg.Mirror, err = deb.HostMirror("/"); err != nil {
			return cfg, fail(exitUsage, err, "name one with --mirror URL or $VIC_MIRROR")
		}
	}
	if f.keyring != "" {
		cfg.Keyrings = []string{f.keyring}
	}
	return cfg, nil
}

// openOnce opens each suite of an archive once.
func openOnce(cfg deb.Config) func(ctx context.Context, suite, arch string) (*deb.Archive, error) {
	opened := map[archiveOf]*deb.Archive{}
	return func(ctx context.Context, suite, arch string) (*deb.Archive, error) {
		key := archiveOf{suite, arch}
		if a := opened[key]; a != nil {
			return a, nil
		}
		cfg := cfg
		cfg.Suite, cfg.Arch = suite, arch
		a, err := deb.Open(ctx, cfg)
		if err == nil {
			opened[key] = a
		}
		return a, err
	}
}

// readLock reads --lock, which has to be for what is going to be built.
func (f *archiveFlags) readLock(of archiveOf) (*deb.Lock, error) {
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
	if got := (archiveOf{lock.Suite, lock.Arch}); got != of {
		return nil, usage("a lock is for the item, suite and architecture that it was written for",
			"read --lock %s: it is for %s on %s, and %s on %s is to be built", f.lock, got.suite, got.arch, of.suite, of.arch)
	}
	return lock, nil
}

// downloads turns the archive's progress into events.
func downloads(sink event.Sink) func(deb.Progress) {
	return func(p deb.Progress) {
		sink.Emit(event.Event{Phase: event.Build, Step: "download", State: event.Progress, Done: p.Done, Total: p.Total, Message: p.Name})
	}
}
