package raspberry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/logwrites"
)

// The power of a card's machine is cut twenty times, each time while it writes, and
// that write is torn. It works again afterwards without a person, with the password
// and the host key that it had.
//
// QEMU's SD cards have no cache that a power cut would empty: they keep every write
// that was completed, in order.
func TestPowerCuts(t *testing.T) {
	if os.Getenv("VIC_TEST_MATRIX") != "1" {
		t.Skip("starts an emulated Raspberry Pi twenty times: VIC_TEST_MATRIX=1")
	}
	need(t)
	card := flashed(t, "-o", "sshkey="+lab.AuthorizedKey(t))
	before := digestOfSlot(t, card)
	random := rand.New(rand.NewPCG(20, 0))
	first, cut := "", 0
	for boot := 0; cut < 20; boot++ {
		if boot%7 == 6 { // what the cuts before it have left is whole
			key := life(t, card, boot)
			if first == "" {
				first = key
			}
			if key != first {
				t.Errorf("boot %d: the host key is %s, before it was %s", boot, key, first)
			}
			continue
		}
		cut++
		t.Run(fmt.Sprintf("cut %d", cut), func(t *testing.T) {
			// As likely among the first ten writes as among the first ten thousand.
			writes := 1
			for random.IntN(14) > 0 && writes < 1<<14 {
				writes *= 2
			}
			pulled(t, card, boot, writes+random.IntN(writes))
		})
	}
	key := life(t, card, 99)
	if first != "" && key != first {
		t.Errorf("in the end the host key is %s, before it was %s", key, first)
	}
	if digestOfSlot(t, card) != before {
		t.Error("the slot was written to")
	}
	keepsSecrets(t, card)
}

// keepsSecrets looks into the state.
func keepsSecrets(t *testing.T, card string) {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	lab.Slice(t, card, state, stateOffset, cardSize-stateOffset-slotSize)
	if text := lab.Say(t, "debugfs", "-R", "cat /"+raspberry.SecretsFile, state); !strings.Contains(text, canary) {
		t.Errorf("the secrets are %q", text)
	}
}

// pulled is from power on until the power goes in the middle of a write, or some time
// after everything runs.
func pulled(t *testing.T, card string, boot, writes int) {
	t.Helper()
	dev, err := disk.Open(card, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	cord := &cord{Device: dev, left: writes, out: make(chan struct{})}
	path := filepath.Join(t.TempDir(), "card.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	logwrites.Mount(t, cord, path)
	began := time.Now()
	m := start(t, path, boot)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for hostKey.FindString(m.Console()) == "" && ctx.Err() == nil {
			time.Sleep(time.Second)
		}
	}()
	why := ""
	select {
	case <-cord.out:
		why = fmt.Sprintf("in write %d", writes)
	case <-served:
		why = "when it served"
	case <-m.Done():
		t.Fatalf("boot %d: it ended by itself: %v", boot, m.Wait(ctx))
	}
	m.Kill()
	if ctx.Err() != nil {
		t.Errorf("boot %d: it neither wrote %d times nor served:\n%s", boot, writes, m.ConsoleTail(30))
	}
	t.Logf("boot %d: cut %s, after %.0f s", boot, why, time.Since(began).Seconds())
}

// cord is the power of a card: it goes in the middle of a write, and nothing is kept
// of what is written after it.
type cord struct {
	logwrites.Device
	out chan struct{} // closed then

	mu   sync.Mutex
	left int
}

func (c *cord) WriteAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	switch {
	case c.left > 0:
		return c.Device.WriteAt(p, off)
	case c.left == 0:
		defer close(c.out)
		if _, err := c.Device.WriteAt(p[:len(p)/1024*512], off); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
