// Package port is the guest's end of a virtio-serial port that tests read what a
// program in a machine has to say from: the emulated serial line now and then
// doubles a letter. The host's end is lab.Port.
package port

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long the port may take to appear after its driver.
const patience = 10 * time.Second

// Open opens the port of that name for writing.
func Open(name string) (*os.File, error) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, file := range names {
			if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(file)), os.O_WRONLY, 0)
			}
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("find port %s: this machine has none", name)
		}
	}
}
