// Command vic-init stands in for the real one in the generator's tests: it
// says how it was started and whether its variables and init functions ran.
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

var order = []string{"variable"}

func init() { order = append(order, "init") }

func main() {
	fmt.Printf("vic-init pid1=%v argv=%q order=%s\n", os.Getpid() == 1, os.Args, strings.Join(order, ","))
	if files, err := os.ReadDir("/expect"); err == nil {
		for _, f := range files {
			b, err := os.ReadFile("/expect/" + f.Name())
			fmt.Printf("expect %s: %q %v\n", f.Name(), b, err)
		}
	}
	if os.Getpid() == 1 {
		unix.Sync()
		if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
			fmt.Println("power off:", err)
		}
	}
}
