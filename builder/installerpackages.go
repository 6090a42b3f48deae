package builder

import (
	"context"
	"fmt"
	"slices"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/lazyregexp"
)

var kernelPackage = lazyregexp.New(`^linux-image-(unsigned-)?[0-9]`)

// resolveKernel finds the kernel's package. Of what that depends on, only the
// kernel itself is taken: it wants initramfs-tools.
func (b *installerBuild) resolveKernel(ctx context.Context) (err error) {
	if b.archive, err = b.env.Archive(ctx, b.spec.Suite, b.spec.Arch); err != nil {
		return err
	}
	if b.resolved, err = b.archive.Resolve(ctx, deb.Request{Packages: b.spec.Kernel}); err != nil {
		return refused(err)
	}
	b.packages = nil
	for _, p := range b.resolved {
		if kernelPackage.MatchString(p.Name) {
			b.packages = append(b.packages, p)
		}
	}
	if len(b.packages) != 1 {
		return refused(fmt.Errorf("packages %v bring %d kernels, one is needed", b.spec.Kernel, len(b.packages)))
	}
	return nil
}

// resolve finds the packages of programs and firmware.
func (b *installerBuild) resolve(ctx context.Context) error {
	rest, err := b.archive.Resolve(ctx, deb.Request{Packages: append(slices.Clone(b.spec.Packages), b.spec.Firmware...)})
	if err != nil {
		return refused(err)
	}
	b.resolved = append(slices.Clone(b.resolved), rest...)
	b.packages = append(b.packages, rest...)
	return nil
}

// openKernel unpacks the kernel, once.
func (b *installerBuild) openKernel(ctx context.Context) (err error) {
	if b.kernel == nil {
		b.kernel, err = openKernel(ctx, b.env, b.archive, b.packages[0])
	}
	return err
}

// unpack puts the packages' files into one tree.
func (b *installerBuild) unpack(ctx context.Context) error {
	if err := b.openKernel(ctx); err != nil {
		return err
	}
	others := b.packages[1:]
	paths, err := b.archive.Fetch(ctx, others)
	if err != nil {
		return err
	}
	trim, err := deb.TrimSet("docs", "locales", "man")
	if err != nil {
		return err
	}
	b.tree = deb.NewTree()
	if err := b.tree.AddDebs(ctx, paths, others, trim); err != nil {
		return err
	}
	if err := b.out.copyFile(KernelFile, b.kernel.image()); err != nil {
		return err
	}
	return b.described(KernelFile, []Part{{Origin: "kernel:" + b.kernel.Release, Size: 1, Raw: b.kernel.Size, Files: 1}})
}
