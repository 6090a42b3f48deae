// Package watch looks for secrets where everybody can read them: in the arguments
// and the environment of processes.
package watch

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Processes looks for a word in the arguments and the environment of all processes
// of this machine, once in a while, until the returned function is called, which
// tells the command lines of those that had it. To look is work: an emulated
// machine has no time for more than a look a second, in which no program that does
// something with a passphrase ends.
func Processes(word string, every time.Duration) (stop func() []string) {
	var seen []string
	quit := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			for _, args := range argumentsWith(word) {
				if !slices.Contains(seen, args) {
					seen = append(seen, args)
				}
			}
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	})
	return func() []string {
		close(quit)
		watching.Wait()
		return seen
	}
}

// argumentsWith are the command lines of processes that hold a word.
func argumentsWith(word string) []string {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	var found []string
	for _, dir := range dirs {
		// One that has ended since has neither any more.
		args, _ := os.ReadFile(dir + "/cmdline")
		env, _ := os.ReadFile(dir + "/environ")
		if bytes.Contains(args, []byte(word)) || bytes.Contains(env, []byte(word)) {
			found = append(found, string(bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
		}
	}
	return found
}
