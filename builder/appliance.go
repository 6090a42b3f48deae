package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/service"
)

// ApplianceSpec says what is in the system of an appliance: what InstallerSpec does,
// and services that run.
type ApplianceSpec struct {
	InstallerSpec
	// Services is the graph of its services, /etc/vic/services.json, but for those
	// of the names Without.
	Services []byte
	Without  []string
	// Documents are what its services read, by their name in /etc/vic.
	Documents map[string][]byte
}

// ApplianceSystem builds the system of an appliance into dir: a bundle like that of
// BuildInstaller, whose initramfs mounts its system image and, as that has
// usr/libexec/vic-appliance, has that run the services.
//
//	usr/libexec/vic-appliance   and usr/bin/vic-init, a link to it
//	etc/vic/services.json       the graph
//	etc/vic/*                   the documents
//	etc/passwd, etc/group       the users of foreign programs
//
// Nothing in it is secret, or of one machine.
func ApplianceSystem(ctx context.Context, env Env, spec ApplianceSpec, dir string) (*Bundle, error) {
	installer, err := spec.installer()
	if err != nil {
		return nil, err
	}
	return BuildInstaller(ctx, env, installer, dir)
}

// CacheAppliance builds the system of an appliance into the cache, unless the same
// was built before.
func CacheAppliance(ctx context.Context, env Env, spec ApplianceSpec) (*Bundle, error) {
	installer, err := spec.installer()
	if err != nil {
		return nil, err
	}
	return CacheInstaller(ctx, env, installer)
}

func (s ApplianceSpec) installer() (InstallerSpec, error) {
	extra, err := s.files()
	if err != nil {
		return InstallerSpec{}, fmt.Errorf("build %s: %w", s.Item, err)
	}
	installer := s.InstallerSpec
	installer.Extra = append(slices.Clone(s.Extra), extra...)
	installer.Files = append(slices.Clone(s.Files), s.regulatory()...)
	return installer, nil
}

// Files of the appliance.
const (
	applianceProgram = "usr/libexec/vic-appliance"
	applianceDir     = "etc/vic"
	servicesFile     = "services.json"
)

// files are those of vic's own.
func (s ApplianceSpec) files() ([]initramfs.File, error) {
	program, err := programs.Appliance(s.Arch)
	if err != nil {
		return nil, err
	}
	graph, err := s.graph()
	if err != nil {
		return nil, err
	}
	files := []initramfs.File{
		initramfs.Regular(applianceProgram, 0o755, program),
		initramfs.Symlink("usr/bin/vic-init", "/"+applianceProgram),
		initramfs.Regular("etc/passwd", 0o644, []byte(passwd)),
		initramfs.Regular("etc/group", 0o644, []byte(group)),
		initramfs.Regular(path.Join(applianceDir, servicesFile), 0o644, graph),
	}
	for _, name := range s.regulatory() {
		// What the package's maintainer script has update-alternatives(1) do.
		files = append(files, initramfs.Symlink(strings.TrimSuffix(name, debianSuffix), path.Base(name)))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Documents)) {
		if !fs.ValidPath(name) || name == servicesFile || path.Base(name) != name {
			return nil, refused(fmt.Errorf("document %q is no name of a file in /%s", name, applianceDir))
		}
		files = append(files, initramfs.Regular(path.Join(applianceDir, name), 0o644, s.Documents[name]))
	}
	for i := range files {
		files[i].Origin = originConfig
	}
	return files, nil
}

// debianSuffix tells the rules for radios that Debian signs from those that their
// makers sign. Debian's kernel believes both.
const debianSuffix = "-debian"

// regulatory are the files with the rules for radios, and their signature.
func (s ApplianceSpec) regulatory() []string {
	if !slices.Contains(s.Packages, "wireless-regdb") {
		return nil
	}
	const file = "usr/lib/firmware/regulatory.db"
	return []string{file + debianSuffix, file + ".p7s" + debianSuffix}
}

// passwd and group have the users that foreign programs give up root for.
const (
	passwd = "root:x:0:0:root:/root:/bin/sh\ndnsmasq:x:100:65534::/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
	group  = "root:x:0:\ndip:x:30:\nnogroup:x:65534:\n"
)

// graph is the graph of the services that the appliance has.
func (s ApplianceSpec) graph() ([]byte, error) {
	g, err := service.Decode(bytes.NewReader(s.Services))
	if err != nil {
		return nil, refused(err)
	}
	g.Services = slices.DeleteFunc(g.Services, func(one service.Service) bool { return slices.Contains(s.Without, one.Name) })
	if err := g.Validate(); err != nil {
		return nil, refused(fmt.Errorf("without %v: %w", s.Without, err))
	}
	b, err := json.MarshalIndent(g, "", "  ")
	return append(b, '\n'), err
}
