package install

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/tool"
)

// initramfs has the target make its initramfs and the boot loader's entry:
//
//	update-initramfs -> /boot/initrd.img-RELEASE
//	  /etc/initramfs/post-update.d/systemd-boot -> kernel-install add
//	    -> ESP/TOKEN/RELEASE/{linux,initrd.img-RELEASE}, loader/entries
//
// The same hooks run when a kernel is updated. Of an initramfs that the payload
// brought, and that is to be kept, only the entry is made.
func (t target) initramfs(ctx context.Context, a plan.Initramfs) (note string, err error) {
	release := a.Release
	if !t.exists("/boot/vmlinuz-" + release) {
		return "", fmt.Errorf("make initramfs: the payload has no /boot/vmlinuz-%s", release)
	}
	env, err := t.kernelInstallEnv(release)
	if err != nil {
		return "", fmt.Errorf("make initramfs: %w", err)
	}
	c := tool.Cmd{Name: "update-initramfs", Args: []string{"-c", "-k", release}, Env: env}
	if image := "/boot/initrd.img-" + release; a.Keep {
		if err := t.notEmpty(image); err != nil {
			return "", fmt.Errorf("keep the payload's initramfs: %w", err)
		}
		note = "the payload's"
		c = tool.Cmd{Name: "run-parts", Args: []string{"--arg=" + release, "--arg=" + image, hooks}, Env: env}
	}
	err = t.inside(ctx, func() error {
		_, err := t.run(ctx, c)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("make initramfs: %w", err)
	}
	return note, nil
}

// hooks are run by update-initramfs(8) when an image has changed.
const hooks = "/etc/initramfs/post-update.d"

// pluginDirs of kernel-install(8); a plugin in a later one replaces its
// namesake.
var pluginDirs = []string{"/usr/lib/kernel/install.d", "/etc/kernel/install.d"}

// kernelInstallEnv has kernel-install(8) leave its depmod plugin out when the
// payload has the module index already: making the same once more takes longer
// than the rest of it.
func (t target) kernelInstallEnv(release string) ([]string, error) {
	if t.notEmpty("/usr/lib/modules/"+release+"/modules.dep") != nil {
		return nil, nil
	}
	plugins := map[string]string{}
	for _, dir := range pluginDirs {
		names, err := t.names(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if path.Ext(name) == ".install" && !strings.HasSuffix(name, "-depmod.install") {
				plugins[name] = path.Join(dir, name)
			}
		}
	}
	if len(plugins) == 0 {
		return nil, nil
	}
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		paths = append(paths, plugins[name])
	}
	return []string{"KERNEL_INSTALL_PLUGINS=" + strings.Join(paths, " ")}, nil
}
