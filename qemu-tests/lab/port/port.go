// Package port is the guest's end of a virtio-serial port that a program in a
// machine talks to a test by: the emulated serial line now and then doubles a
// letter. The host's end is lab.Port, or lab.Socket.
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

// Open opens the port of that name for reading and writing. To read from it is an
// end of file while nobody is at the host's end.
func Open(name string) (*os.File, error) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, file := range names {
			if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(file)), os.O_RDWR, 0)
			}
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("find port %s: this machine has none", name)
		}
	}
}
