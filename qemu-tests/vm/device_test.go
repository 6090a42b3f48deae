package vm

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serialOf asks QEMU for a property of a device.
func property(ctx context.Context, t *testing.T, m *Machine, device, name string) string {
	t.Helper()
	raw, err := m.QMP(ctx, "qom-get", map[string]string{"path": "/machine/peripheral/" + device, "property": name})
	if err != nil {
		t.Error(err)
	}
	return string(raw)
}

func TestDisksOnEveryBus(t *testing.T) {
	ctx := needVM(t)
	boot := guest(t, say("up", hang))
	boot.BootIndex = 1
	c := Config{Disks: []Disk{boot}}
	for _, d := range []Disk{
		{Bus: "virtio", SectorSize: 4096, Hotplug: true}, {Bus: "nvme", SectorSize: 4096}, {Bus: "nvme", Hotplug: true},
		{Bus: "sata", Cache: "unsafe"}, {Bus: "usb", Snapshot: true}, {Bus: "scsi", SectorSize: 4096, ReadOnly: true},
		{Bus: "scsi", Cache: "writethrough"}, {Bus: "virtio", LogWrites: filepath.Join(t.TempDir(), "log")},
		{Bus: "scsi", FailWrites: maxFailWrites, FailErrno: syscall.ENOSPC},
	} {
		d.Serial = fmt.Sprintf("QM%04d", len(c.Disks))
		d.Path = filepath.Join(t.TempDir(), "d,isk.img")
		if err := BlankDisk(d.Path, 4<<20); err != nil {
			t.Fatal(err)
		}
		c.Disks = append(c.Disks, d)
	}
	m := Start(t, c)
	waitConsole(ctx, t, m, "up")
	for i, d := range c.Disks[1:] {
		id := fmt.Sprintf("disk%d", i+1)
		if got := property(ctx, t, m, id, "serial"); got != `"`+d.Serial+`"` {
			t.Errorf("%s %s: serial is %s", id, d.Bus, got)
		}
		if d.SectorSize != 0 {
			if got := property(ctx, t, m, id, "logical_block_size"); got != "4096" {
				t.Errorf("%s %s: logical block size is %s", id, d.Bus, got)
			}
		}
	}
	if err := m.PullDisk(ctx, 4); err == nil || !strings.Contains(err.Error(), "hotplug") {
		t.Errorf("pull a SATA disk: %v", err)
	}
	if err := m.PullDisk(ctx, 6); err != nil { // SCSI needs no guest to agree
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := m.PullDisk(short, 1); err == nil || !strings.Contains(err.Error(), "the guest holds it") {
		t.Errorf("pull a disk from a guest that does not listen: %v", err)
	}
}

func TestPortsAreForwarded(t *testing.T) {
	ctx := needVM(t)
	c := Config{Disks: []Disk{guest(t, say("up", hang))}, NICs: []NIC{
		{Forward: []int{22, 80}}, {Forward: []int{22}, Restrict: true, Model: "e1000"},
	}}
	m := Start(t, c)
	seen := map[string]bool{}
	for _, k := range []portKey{{0, 22}, {0, 80}, {1, 22}} {
		addr := m.Addr(k.nic, k.guest)
		if host, _, err := net.SplitHostPort(addr); err != nil || host != "127.0.0.1" || seen[addr] {
			t.Errorf("%+v: address %q", k, addr)
		}
		seen[addr] = true
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Errorf("%+v: %v", k, err)
			continue
		}
		conn.Close()
	}
	if addr := m.Addr(0, 443); addr != "" {
		t.Errorf("a port that is not forwarded has the address %q", addr)
	}
	for _, up := range []bool{false, true} {
		if err := m.SetLink(ctx, 1, up); err != nil {
			t.Error(err)
		}
	}
	if err := m.SetLink(ctx, 2, true); err == nil {
		t.Error("a card that is not there has a link")
	}
}

func TestUEFIVariablesAreKept(t *testing.T) {
	ctx := needVM(t)
	if _, err := (host{}).firmware("amd64"); err != nil {
		t.Skip(err)
	}
	vars := filepath.Join(t.TempDir(), "vars.fd")
	c := Config{Firmware: "uefi", Vars: vars, Disks: []Disk{guest(t, say("", hang))}}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	blank := func() string {
		b, err := os.ReadFile(vars)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	m := Start(t, c)
	template := blank()
	if _, err := Run(ctx, c); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("two machines with one store: %v", err)
	}
	// The firmware writes its first boot entries.
	for blank() == template {
		select {
		case <-ctx.Done():
			t.Fatal("the firmware wrote no variables")
		case <-time.After(100 * time.Millisecond):
		}
	}
	m.Kill()
	written := blank()
	again, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if b := blank(); b == template || len(b) != len(written) {
		t.Error("the next machine began with a blank store")
	}
}

func TestSendConsole(t *testing.T) {
	ctx := needVM(t)
	// It copies what is typed: mov dx, 0x3fd; in al, dx; test al, 1; jz;
	// mov dl, 0xf8; in al, dx; out dx, al; jmp to the beginning.
	echo := []byte{0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, 0xb2, 0xf8, 0xec, 0xee, 0xeb, 0xf2}
	m := Start(t, Config{Disks: []Disk{guest(t, say("ready\n", echo))}})
	waitConsole(ctx, t, m, "ready")
	if err := m.SendConsole("typed!"); err != nil {
		t.Fatal(err)
	}
	waitConsole(ctx, t, m, "typed!")
}

// recorder is a TB that fails on request and keeps what is logged.
type recorder struct {
	*testing.T
	failed  bool
	log     strings.Builder
	cleanup []func()
}

func (r *recorder) Failed() bool              { return r.failed }
func (r *recorder) Cleanup(f func())          { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Logf(f string, a ...any)   { fmt.Fprintf(&r.log, f+"\n", a...) }
func (r *recorder) Errorf(f string, a ...any) { r.failed = true; r.Logf(f, a...) }

func TestStartReportsFailures(t *testing.T) {
	ctx := needVM(t)
	out := t.TempDir()
	t.Setenv("VIC_TEST_OUT", out)
	r := &recorder{T: t, failed: true}
	m := Start(r, Config{Name: "target", Disks: []Disk{guest(t, say("\r\nlast words", hang))}})
	waitConsole(ctx, t, m, "last words")
	for _, f := range r.cleanup {
		f()
	}
	for _, want := range []string{"last words", "qemu-system-x86_64 -name guest=target", out} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, &r.log)
		}
	}
	kept := filepath.Join(out, "TestStartReportsFailures-target")
	f, err := os.Open(filepath.Join(kept, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var last string
	for s := bufio.NewScanner(f); s.Scan(); {
		last = s.Text()
	}
	if last != "last words" {
		t.Errorf("kept console ends in %q", last)
	}
	if _, err := os.Stat(m.Dir()); !os.IsNotExist(err) {
		t.Errorf("run folder is left: %v", err)
	}
}
