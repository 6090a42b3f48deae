package install_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	planned "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
	"github.com/victorinix/vic/internal/tool"
)

// machine is a Machine of memory that notes its effects in order.
type machine struct {
	storage.Machine // what the plans of these tests do not use

	mu       sync.Mutex
	disks    []plan.Disk
	users    []string
	ro       bool
	files    map[string][]byte // what Open finds
	fail     map[string]error  // by the beginning of an effect
	effects  []string
	mounted  []storage.Mount
	tables   map[string]layout.Table
	contents map[string]storage.Content
	payload  map[string]string // files that its tree has beside payloadTree
}

func (m *machine) did(format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	effect := fmt.Sprintf(format, args...)
	m.effects = append(m.effects, effect)
	for prefix, err := range m.fail {
		if strings.HasPrefix(effect, prefix) {
			return err
		}
	}
	return nil
}

func (m *machine) Disks() ([]plan.Disk, error)            { return m.disks, nil }
func (m *machine) ReadOnly(string) (bool, error)          { return m.ro, nil }
func (m *machine) Partition(dev string, n int) string     { return fmt.Sprint(dev, n) }
func (m *machine) FindPartition(l string) (string, error) { return "/dev/disk/" + l, nil }
func (m *machine) Flush(dev string) error                 { return m.did("flush %s", dev) }
func (m *machine) Measure(string) (int64, int, error)     { return 8 << 30, 512, nil }
func (m *machine) LookPath(name string) (string, error) {
	if strings.HasPrefix(name, "mkfs.") {
		return "/sbin/" + name, nil
	}
	return "", tool.ErrNotFound
}

func (m *machine) Users(string, []disk.Range) ([]string, error)                    { return m.users, nil }
func (m *machine) Release(context.Context, string, []disk.Range) ([]string, error) { return nil, nil }
func (m *machine) ShowTable(context.Context, string, layout.Table) error           { return nil }

func (m *machine) Table(dev string) (*probe.Table, error) {
	t, ok := m.tables[dev]
	if !ok {
		return nil, nil
	}
	return &probe.Table{Table: t}, nil
}

func (m *machine) Content(dev string) ([]storage.Content, error) {
	if c, ok := m.contents[dev]; ok {
		return []storage.Content{c}, nil
	}
	return nil, nil
}

func (m *machine) Wipe(_ context.Context, dev string, _, _ []disk.Range) error {
	delete(m.tables, dev)
	m.contents = map[string]storage.Content{}
	return m.did("wipe %s", dev)
}

func (m *machine) WriteTable(_ context.Context, dev string, t layout.Table, _ bool) error {
	m.tables[dev] = t
	return m.did("table %s", dev)
}

func (m *machine) Mkfs(_ context.Context, f disk.Filesystem, dev string) error {
	m.contents[dev] = storage.Content{Type: f.Format, UUID: f.UUID, Label: f.Label}
	return m.did("mkfs.%s %s", f.Format, dev)
}

func (m *machine) Open(path string) (install.Source, error) {
	b, ok := m.files[path]
	if !ok && !strings.HasPrefix(path, "/dev/") {
		f, err := install.Host{}.Open(path)
		return f, err
	}
	if !ok {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return &memSource{Reader: bytes.NewReader(b), size: int64(len(b)), device: strings.HasPrefix(path, "/dev/")}, nil
}

// MountImage makes the tree of a payload.
func (m *machine) MountImage(image, format, dir string) error {
	if err := m.did("mount %s %s", format, image); err != nil {
		return err
	}
	m.mounted = append(m.mounted, storage.Mount{Target: dir})
	tree := maps.Clone(payloadTree)
	maps.Copy(tree, m.payload)
	for name, content := range tree {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var payloadTree = map[string]string{
	"etc/passwd":           "root:x:0:0:root:/root:/bin/bash\nann:x:0:0::/home/ann:/bin/bash\n",
	"home/ann/.profile":    "",
	"root/.profile":        "",
	"etc/ssh/ssh_host_old": "not to be shared",
	"boot/vmlinuz-6.12":    "kernel",
	"usr/lib/systemd/boot/efi/systemd-bootx64.efi": "MZ",
}

func (m *machine) Mount(_ context.Context, source, dir, fstype string, _ []string) error {
	if err := m.did("mount %s on %s", source, filepath.Base(dir)); err != nil {
		return err
	}
	m.mounted = append(m.mounted, storage.Mount{Target: dir, Source: source, Type: fstype})
	return nil
}

func (m *machine) Unmount(_ context.Context, dir string) error {
	for i := len(m.mounted) - 1; i >= 0; i-- {
		if m.mounted[i].Target != dir {
			continue
		}
		m.mounted = append(m.mounted[:i:i], m.mounted[i+1:]...)
		// What was mounted is gone; a tmpfs most of all.
		if name := filepath.Base(dir); name == "disk" || strings.HasPrefix(name, "vic-payload-") {
			return clear(dir)
		}
		return nil
	}
	return fmt.Errorf("%s is not mounted", dir)
}

func clear(dir string) error {
	l, err := os.ReadDir(dir)
	for _, e := range l {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

func (m *machine) Mounts(dir string) ([]storage.Mount, error) {
	var l []storage.Mount
	for _, d := range m.mounted {
		if d.Target == dir || strings.HasPrefix(d.Target, dir+"/") {
			l = append(l, d)
		}
	}
	return l, nil
}

func (m *machine) Mounted(at storage.Mount, source, _ string, _ []string) (bool, error) {
	return at.Source == source, nil
}

type memSource struct {
	io.Reader
	size   int64
	device bool
}

func (s *memSource) Size() (int64, bool, error) { return s.size, s.device, nil }
func (s *memSource) Forget(int64)               {}
func (s *memSource) Close() error               { return nil }

// programs is a Runner that does, inside the target, what the real programs
// would leave.
type programs struct {
	m     *machine
	stdin []string
	argv  []string
}

func (p *programs) Run(_ context.Context, c tool.Cmd) (tool.Output, error) {
	p.argv = append(p.argv, c.String())
	if c.Stdin != nil {
		b, _ := io.ReadAll(c.Stdin)
		p.stdin = append(p.stdin, string(b))
	}
	if err := p.m.did("run %s", c); err != nil {
		return tool.Output{}, err
	}
	put := func(name, content string) error {
		name = filepath.Join(c.Root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		return os.WriteFile(name, []byte(content), 0o644)
	}
	switch c.Name {
	case "ssh-keygen":
		return tool.Output{}, put("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA root@build\n")
	case "update-initramfs", "run-parts":
		var err error
		if c.Name == "update-initramfs" {
			err = put("/boot/initrd.img-6.12", "initrd")
		}
		return tool.Output{}, errors.Join(err,
			put("/boot/efi/debian/6.12/linux", "kernel"),
			put("/boot/efi/debian/6.12/initrd", "initrd"),
			put("/boot/efi/loader/entries/debian-6.12.conf", "# made\nversion 6.12\nlinux /debian/6.12/linux\ninitrd /debian/6.12/initrd\noptions root=UUID="+rootUUID+"\n"))
	case "grub-install":
		return tool.Output{}, put("/boot/grub/i386-pc/core.img", string(coreImage()))
	case "update-grub":
		return tool.Output{}, put("/boot/grub/grub.cfg", "linux /boot/vmlinuz-6.12 root=UUID="+rootUUID+"\ninitrd /boot/initrd.img-6.12\n")
	}
	return tool.Output{}, nil
}

func coreImage() []byte { return bytes.Repeat([]byte("grub core"), 300) }

// bootSector is what grub-install makes of the first sector.
func bootSector(lba uint16) []byte {
	b := make([]byte, 512)
	copy(b[0x180:], "GRUB \x00Geom\x00")
	binary.LittleEndian.PutUint16(b[0x5c:], lba)
	b[510], b[511] = 0x55, 0xaa
	return b
}

var theDisk = plan.Disk{Device: "/dev/vda", Path: "pci/virtio0", Serial: "QM0001", Size: 8 << 30, SectorSize: 512}

const theLayout = `
disk:
  main:
    type: disk
    device: /dev/vda
    content:
      type: gpt
      partitions:
        bios: {size: 1M, type: EF02}
        esp: {size: 512M, type: EF00, content: {type: filesystem, format: vfat, mountpoint: /boot/efi}}
        root: {size: 100%, content: {type: filesystem, format: ext4, mountpoint: /, extraArgs: [-U, ` + rootUUID + `]}}
`

const rootUUID = "6f06dab3-1f0c-5b5b-9d7d-76c16b2245a7"

// onDisk is how the layout is put onto a disk.
func onDisk(text string, d plan.Disk) plan.Storage {
	l, err := layout.Parse("test", []byte(text))
	if err != nil {
		panic(err)
	}
	p, err := planned.New(planned.Config{Layout: l, Disks: map[string]planned.State{"main": {Disk: d}}, Anew: true})
	if err != nil {
		panic(err)
	}
	return p
}

func payload() request.Payload {
	return request.Payload{Format: "erofs", Size: 5, TreeSize: 100, Arch: "amd64", Kernel: "6.12",
		SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", // of "hello"
		Source: request.Source{Serial: "PAYLOAD"}}
}

// thePlan is a whole install, with every kind of step.
func thePlan() plan.Plan {
	on := onDisk(theLayout, theDisk)
	esp := on.Disks[0].After.Entries[1]
	p := plan.Plan{Version: 2, Storage: on, Result: event.Result{Hostname: "h", RootUUID: rootUUID}}
	add := func(phase event.Phase, actions ...plan.Action) {
		for _, a := range actions {
			p.Steps = append(p.Steps, plan.Step{Phase: phase, Name: fmt.Sprint(a.Kind(), " ", len(p.Steps)), Action: a})
		}
	}
	add(event.Verify, plan.CheckMemory{Need: 1}, plan.CheckTools{Programs: []string{"mkfs.ext4"}}, on.Create[0].Action,
		plan.CheckSecrets{Names: []string{"password", "tls-key"}}, plan.CheckPayload{Payload: payload()})
	p.Steps = append(p.Steps, on.Create[1:]...)
	p.Steps = append(p.Steps, on.Mount...)
	add(event.Copy, plan.CopyPayload{Payload: payload()})
	add(event.Inject, plan.WriteFile{Path: "/etc/hostname", Mode: 0o644, Content: "h\n"}, plan.Symlink{Path: "/etc/localtime", Target: "/usr/share/zoneinfo/UTC"},
		plan.AddUser{User: request.User{Name: "ann", Sudo: true, SSHKeys: []string{"ssh-ed25519 AAAA"}}},
		plan.AddUser{User: request.User{Name: "root", PasswordSecret: "password"}}, plan.Locale{Name: "C.UTF-8"},
		plan.PutFile{Path: "/etc/app/key", Mode: 0o600, Owner: "ann", Content: []template.Segment{{Text: "key="}, {Secret: "tls-key", Filters: []template.Filter{{Name: "json"}}}, {Text: "\n"}}},
		plan.EnableUnit{Name: "app.service"}, plan.HostKeys{})
	add(event.Boot, plan.SystemdBoot{ESP: "/boot/efi", Arch: "amd64"}, plan.Initramfs{Release: "6.12"}, plan.GRUB{Disks: []plan.Disk{theDisk}},
		plan.CheckBoot{ESP: "/boot/efi", Arch: "amd64", Release: "6.12", BIOS: true},
		plan.BootEntry{Label: "vic", Partition: esp, SectorSize: 512, Loader: `\EFI\systemd\systemd-bootx64.efi`})
	p.Steps = append(p.Steps, on.Unmount...)
	return p
}
