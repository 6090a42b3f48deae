package raspberry

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// slotOffset is where the slots of a card of 512 MiB are.
var slotOffset = map[int]int64{slot.A: 4 * mib, slot.B: 400 * mib}

// board is a Pi with a card, whose firmware is this test: when the machine resets, it
// reads autoboot.txt and what the kernel has said of tryboot, and starts a slot.
type board struct {
	*testing.T
	card    string
	dir     string // with the client's key and configuration
	machine *vm.Machine
	runs    int // the slot
	starts  int
}

// bootLimit is for a start under emulation, up to an answer by SSH.
const bootLimit = 12 * time.Minute

// An update from slot A to B is tried and kept; the next one, to A, does not start,
// and B goes on; then A is gone back to after all.
func TestUpdate(t *testing.T) {
	if os.Getenv("VIC_TEST_MATRIX") != "1" {
		t.Skip("starts an emulated Raspberry Pi four times: VIC_TEST_MATRIX=1")
	}
	need(t)
	tooltest.Need(t, "ssh", "fsck.vfat", "mtype")
	b := &board{T: t, dir: t.TempDir()}
	lab.MakeKey(t, b.dir+"/key")
	options := []string{"-o", "sshkey=@" + b.dir + "/key.pub", "-o", "subnet=10.0.2.0/24"}
	b.card = flashed(t, append(options, "-o", "hostname=first")...)
	b.start(slot.A)
	b.answers("first", slot.A, slot.A)

	update := append([]string{"update", item, "--yes", "-o", "country=DE"}, options...)
	done := b.vic(append(update, "-o", "hostname=second")...)
	b.resets(true)
	b.start(b.chosen(true))
	if run := <-done; run.Exit != 0 {
		t.Fatalf("vic update: exit code %d\n%s", run.Exit, run.Stderr)
	} else {
		t.Logf("%s%s", run.Stderr, run.Stdout)
	}
	b.answers("second", slot.B, slot.B)
	if out := b.mustSSH("cat /run/vic/state/secrets.json"); !strings.Contains(out, canary) {
		t.Error("the secrets are gone")
	}
	if n := b.chosen(false); n != slot.B {
		t.Errorf("slot %d starts next", n)
	}

	done = b.vic(append(update, "-o", "hostname=third")...)
	b.resets(true)
	if n := b.chosen(true); n != slot.A {
		t.Fatalf("slot %d is to be tried", n)
	}
	b.start(b.chosen(false)) // it did not start, and its watchdog has reset it
	if run := <-done; run.Exit != 6 || !strings.Contains(run.Stderr, "slot B has started again") || !strings.Contains(run.Stderr, "nothing is lost") {
		t.Errorf("vic update: exit code %d\n%s", run.Exit, run.Stderr)
	}
	b.answers("second", slot.B, slot.B)

	done = b.vic("update", "--back")
	b.resets(true)
	b.start(b.chosen(true))
	if run := <-done; run.Exit != 0 {
		t.Errorf("vic update --back: exit code %d\n%s", run.Exit, run.Stderr)
	}
	b.answers("third", slot.A, slot.A)
	b.machine.Kill()
	<-b.machine.Done()
	for n, offset := range slotOffset {
		file := filepath.Join(t.TempDir(), "slot")
		lab.Slice(t, b.card, file, offset, 112*mib)
		lab.Say(t, "fsck.vfat", "-n", file)
		if line := lab.Say(t, "mtype", "-i", file, "::/cmdline.txt"); !strings.Contains(line, fmt.Sprintf("-%02x ", n)) {
			t.Errorf("slot %d: %s", n, line)
		}
	}
}

// start starts a slot. What reaches the board does so by the name "pi" from then on.
func (b *board) start(number int) {
	b.Helper()
	b.starts++
	b.runs = number
	b.machine = startSlot(b.T, b.card, slotOffset[number], fmt.Sprintf("pi-update-%d", b.starts), vm.NIC{Forward: []int{22}, Guest: "10.0.2.1", Restrict: true})
	host, port, err := net.SplitHostPort(b.machine.Addr(0, 22))
	if err != nil {
		b.Fatal(err)
	}
	text := fmt.Sprintf("Host pi\n Hostname %s\n Port %s\n User root\n HostKeyAlias pi\n IdentityFile %[3]s/key\n IdentitiesOnly yes\n BatchMode yes\n UserKnownHostsFile %[3]s/known\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n",
		host, port, b.dir)
	if err := os.WriteFile(b.config()+".new", []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(b.config()+".new", b.config()); err != nil {
		b.Fatal(err)
	}
}

func (b *board) config() string { return filepath.Join(b.dir, "config") }

func (b *board) ssh(ctx context.Context, command string) (string, error) {
	out, err := exec.CommandContext(ctx, "ssh", "-F", b.config(), "-o", "ConnectTimeout=20", "pi", command).Output()
	return string(out), err
}

func (b *board) mustSSH(command string) string {
	b.Helper()
	out, err := b.ssh(b.Context(), command)
	if err != nil {
		b.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// answers waits until the board answers, and compares who it is, which slot runs, and
// which one is the default.
func (b *board) answers(hostname string, running, byDefault int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), bootLimit)
	defer cancel()
	for {
		out, err := b.ssh(ctx, "vic-init slots --json")
		if err == nil {
			want := []string{fmt.Sprintf(`"running": %d`, running), fmt.Sprintf(`"default": %d`, byDefault), `"board": "Raspberry Pi 3 Model B"`}
			for _, w := range want {
				if !strings.Contains(out, w) {
					b.Fatalf("the board does not say %s:\n%s", w, out)
				}
			}
			if named := b.mustSSH("cat /etc/vic/access-point.json"); !strings.Contains(named, `"`+hostname+`"`) {
				b.Fatalf("the board is not %s:\n%s", hostname, named)
			}
			return
		}
		select {
		case <-time.After(3 * time.Second):
		case <-b.machine.Done():
			b.Fatalf("the board has reset before it answered")
		case <-ctx.Done():
			b.Fatalf("the board does not answer: %v\n%s", err, b.machine.ConsoleTail(30))
		}
	}
}

// vic runs vic beside the board.
func (b *board) vic(args ...string) <-chan lab.Run {
	done := make(chan lab.Run, 1)
	go func() {
		done <- lab.Vic(b.T, append(args, "--on", "pi", "--ssh-config", b.config(), "--prove-timeout", bootLimit.String())...)
		close(done)
	}()
	return done
}

// resets waits until the board resets, with a word of tryboot or without.
func (b *board) resets(tryboot bool) {
	b.Helper()
	select {
	case <-b.machine.Done():
	case <-time.After(bootLimit):
		b.Fatalf("the board does not restart\n%s", b.machine.ConsoleTail(30))
	}
	if said := strings.Contains(b.machine.Console(), "Restarting system with command '0 tryboot'"); said != tryboot {
		b.Errorf("the kernel has told the firmware of tryboot: %v\n%s", said, b.machine.ConsoleTail(10))
	}
}

// chosen is the slot that the firmware starts.
func (b *board) chosen(tryboot bool) int {
	b.Helper()
	text := lab.Say(b.T, "mtype", "-i", fmt.Sprintf("%s@@%d", b.card, slotOffset[slot.A]), "::/autoboot.txt")
	c, err := slot.ParseChoice([]byte(text))
	if err != nil {
		b.Fatal(err)
	}
	if tryboot && c.Try != 0 {
		return c.Try
	}
	return c.Default
}
