package oneshot

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/boot"
	"github.com/victorinix/vic/internal/registration/file"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var attempt = uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001")

func open(t *testing.T, v efi.Variables) *registration.Store {
	t.Helper()
	dir := t.TempDir()
	s, err := registration.Open(registration.Config{
		Dirs: []string{filepath.Join(dir, "registrations")}, Lock: filepath.Join(dir, "lock"), Group: "test",
		Env: registration.Env{Run: tool.Exec{}, Variables: v},
		Kinds: registration.Kinds{
			file.Kind:         {Version: file.Version, New: func() registration.Change { return new(file.File) }},
			boot.EntryKind:    {Version: boot.Version, New: func() registration.Change { return new(boot.Entry) }},
			boot.VariableKind: {Version: boot.Version, New: func() registration.Change { return new(boot.Variable) }},
			boot.GrubKind:     {Version: boot.Version, New: func() registration.Change { return new(boot.GrubVariable) }},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// memory is a folder whose device nobody asks for: only root may.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vic-oneshot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// undo takes everything back.
func undo(t *testing.T, s *registration.Store) {
	t.Helper()
	list, err := s.Undo(t.Context(), registration.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if !o.Undone() {
			t.Errorf("%s: %s %s", o.Title, o.Did, o.Reason)
		}
	}
}

// firmware has one boot entry, in its order.
func firmware(t *testing.T) efi.MapVariables {
	t.Helper()
	v := efi.MapVariables{}
	if _, err := efi.AddBootEntry(v, efi.Entry{Label: "debian", Partition: efi.HardDrive{Number: 1, Start: 2048, Size: 4096}, Path: `\EFI\debian\shimx64.efi`}, true); err != nil {
		t.Fatal(err)
	}
	return v
}

func clone(v efi.MapVariables) map[efi.VariableName]string {
	m := map[efi.VariableName]string{}
	for name, value := range v {
		m[name] = string(value.Data)
	}
	return m
}

func same(t *testing.T, before, after map[efi.VariableName]string) {
	t.Helper()
	if len(before) != len(after) {
		t.Errorf("%d variables, there were %d", len(after), len(before))
	}
	for name, value := range before {
		if after[name] != value {
			t.Errorf("%s is %x, it was %x", name, after[name], value)
		}
	}
}

func TestBootNext(t *testing.T) {
	v := firmware(t)
	before := clone(v)
	s := open(t, v)
	part := efi.HardDrive{Number: 3, Start: 1 << 20, Size: 1 << 17, Partition: efi.GUID{3}}
	if err := BootNext(t.Context(), s.Do, part, "/EFI/BOOT/BOOTX64.EFI"); err != nil {
		t.Fatal(err)
	}
	num, ok, err := efi.BootNext(v)
	if err != nil || !ok {
		t.Fatalf("BootNext: %v %v", ok, err)
	}
	order, err := efi.BootOrder(v)
	if err != nil || len(order) != 1 || order[0] == num {
		t.Errorf("the boot order is %v, %v", order, err)
	}
	entries, err := efi.ListBootEntries(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if f, _ := e.Path[len(e.Path)-1].File(); e.Number == num && f != `\EFI\BOOT\BOOTX64.EFI` {
			t.Errorf("it starts %s", e.Path)
		}
	}
	undo(t, s)
	same(t, before, clone(v))
}

func TestSystemdBoot(t *testing.T) {
	v := firmware(t)
	before := clone(v)
	esp := memory(t)
	s := open(t, v)
	content := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("MZ")), nil }
	if err := PutUKI(t.Context(), s.Do, esp, attempt, content); err != nil {
		t.Fatal(err)
	}
	if err := SystemdBoot(t.Context(), s.Do, esp, attempt); err != nil {
		t.Fatal(err)
	}
	entry, err := os.ReadFile(esp + "/loader/entries/vic-a1b2c3d4.conf")
	if err != nil || string(entry) != "title vic: reinstall this machine\nefi /EFI/vic/vic-a1b2c3d4.efi\n" {
		t.Errorf("%s %v", entry, err)
	}
	if uki, err := os.ReadFile(esp + "/EFI/vic/vic-a1b2c3d4.efi"); err != nil || string(uki) != "MZ" {
		t.Errorf("%s %v", uki, err)
	}
	found := false
	for name, value := range v {
		found = found || name.Name == "LoaderEntryOneShot" && bytes.Contains(value.Data, []byte("v\x00i\x00c\x00-\x00"))
	}
	if !found {
		t.Error("LoaderEntryOneShot is not set")
	}
	undo(t, s)
	same(t, before, clone(v))
	if left, err := os.ReadDir(esp); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestGRUB(t *testing.T) {
	run := tooltest.Need(t, "grub-editenv", "grub-script-check")
	dir := memory(t)
	env, cfg := dir+"/grubenv", dir+"/custom.cfg"
	for _, args := range [][]string{{env, "create"}, {env, "set", "saved_entry=gnulinux-simple"}} {
		if _, err := run.Run(t.Context(), tool.Cmd{Name: "grub-editenv", Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	const own = "menuentry 'mine' { true; }" // no line break
	if err := os.WriteFile(cfg, []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	was, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, nil)
	start := Start{Filesystem: "A1B2-C3D4", Format: "vfat", Table: "msdos", Kernel: "/vic/vmlinuz", Initrd: "/vic/initrd", Cmdline: "console=ttyS0 panic=10"}
	if err := GRUB(t.Context(), s.Do, dir, attempt, start); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "grub-editenv", Args: []string{env, "list"}})
	if err != nil || string(out.Stdout) != "saved_entry=gnulinux-simple\nnext_entry=vic-a1b2c3d4\n" {
		t.Errorf("%s %v", out.Stdout, err)
	}
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "grub-script-check", Args: []string{cfg}}); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(cfg)
	for _, want := range []string{own + "\nmenuentry ", "--id 'vic-a1b2c3d4'", "insmod fat\n", "--set=root A1B2-C3D4\n", "linux /vic/vmlinuz console=ttyS0 panic=10\n"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("no %q in %s %v", want, text, err)
		}
	}
	undo(t, s)
	if now, err := os.ReadFile(env); err != nil || !bytes.Equal(now, was) {
		t.Errorf("the environment block is %q, %v", now, err)
	}
	if now, err := os.ReadFile(cfg); err != nil || string(now) != own {
		t.Errorf("custom.cfg is %q, %v", now, err)
	}
}

// What is started by UEFI is chain-loaded, from whatever GRUB reads.
func TestExecutable(t *testing.T) {
	text := Start{Filesystem: "u", Format: "ext4", Table: "gpt", Executable: "/var/lib/vic/stage/x/BOOTX64.EFI"}.entry(attempt)
	if !strings.Contains(text, "insmod ext2\n") || !strings.Contains(text, "\tchainloader /var/lib/vic/stage/x/BOOTX64.EFI\n") || strings.Contains(text, "linux") {
		t.Error(text)
	}
}

// The configuration is what the real programs make of their templates.
func TestStartsOnce(t *testing.T) {
	run := tooltest.Need(t, "grub-mkconfig")
	root := t.TempDir()
	if err := os.MkdirAll(root+"/boot/grub", 0o755); err != nil {
		t.Fatal(err)
	}
	if folder, err := GRUBFolder(root); err != nil || folder != "" {
		t.Errorf("%q %v", folder, err)
	}
	// As Debian's grub-mkconfig runs the header and the end; those between look for
	// kernels and devices of this machine.
	var text []byte
	for _, part := range []string{"00_header", "41_custom"} {
		out, err := run.Run(t.Context(), tool.Cmd{
			Name: "/etc/grub.d/" + part,
			Env:  []string{"pkgdatadir=/usr/share/grub", "grub_cfg=/boot/grub/grub.cfg", "GRUB_DEFAULT=0", "GRUB_TIMEOUT=5", "GRUB_TERMINAL_OUTPUT=console", "GRUB_DEVICE=/dev/null"},
		})
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, out.Stdout...)
	}
	write := func(text []byte) {
		if err := os.WriteFile(root+"/boot/grub/grub.cfg", text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	folder, err := GRUBFolder(root)
	if err != nil || folder != "/boot/grub" {
		t.Fatalf("%q %v", folder, err)
	}
	if err := StartsOnce(root, folder); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	for cut, want := range map[string]string{"${next_entry}": "is not read", "save_env next_entry": "is not cleared", "source ": "custom.cfg is not read"} {
		write(bytes.ReplaceAll(text, []byte(cut), []byte("x")))
		if err := StartsOnce(root, folder); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %v", cut, err)
		}
	}
}

func TestIsGRUB(t *testing.T) {
	sector := make([]byte, 512)
	copy(sector[0x180:], "GRUB \x00Geom\x00")
	if !IsGRUB(sector) || IsGRUB(make([]byte, 512)) || IsGRUB(nil) {
		t.Error("GRUB's boot image is not known")
	}
}
