package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// lookEvery is how often processes are looked at: a program that takes a secret
// as an argument runs for longer, or does no work.
const lookEvery = 50 * time.Millisecond

// watchProcesses looks for a word in the arguments of all processes of this
// machine, until the returned function is called, which tells where it was.
func watchProcesses(word string) (stop func() []string) {
	var seen []string
	quit := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(lookEvery)
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

// argumentsWith are the command lines that hold a word.
func argumentsWith(word string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	var found []string
	for _, f := range files {
		// One that has ended since has no arguments any more.
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(word)) {
			found = append(found, string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return found
}
