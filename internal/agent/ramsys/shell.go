package ramsys

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
)

const noCtty = syscall.O_NOCTTY

// Path is where the RAM system looks for programs: the system erofs comes
// before the rescue commands of the initramfs.
const Path = "/usr/sbin:/usr/bin:/bbin"

func environment(term string) []string {
	return []string{"PATH=" + Path, "HOME=/root", "LC_ALL=C.UTF-8", "TERM=" + term}
}

// shells are what a rescue shell can be, best first.
func shells() []string { return []string{"/bbin/gosh", "/usr/bin/sh"} }

// shellPause keeps a shell that ends at once from flooding its console.
const shellPause = time.Second

// keepShell runs a shell on a console, again and again. It returns when there
// is no shell to run, or the console has gone.
func keepShell(r *reap.Reaper, c *console) {
	for {
		p, err := startShell(r, c)
		if err != nil {
			printAll([]*console{c}, "no rescue shell on %s: %v\n", c.device, err)
			return
		}
		<-p.Done()
		time.Sleep(shellPause)
		printAll([]*console{c}, "\n")
	}
}

// startShell starts a shell as the leader of its own session, so that it gets
// the console as its controlling terminal: Ctrl-C ends what the shell runs.
func startShell(r *reap.Reaper, c *console) (*reap.Process, error) {
	path, err := findShell()
	if err != nil {
		return nil, err
	}
	tty, err := os.OpenFile(c.device, os.O_RDWR|noCtty, 0)
	if err != nil {
		return nil, err
	}
	defer tty.Close()
	return r.Start(path, []string{path}, &syscall.ProcAttr{
		Dir: "/", Env: environment(c.term),
		Files: []uintptr{tty.Fd(), tty.Fd(), tty.Fd()}, // Fd makes it blocking, as shells expect
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
}

func findShell() (string, error) {
	for _, path := range shells() {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.Join(fs.ErrNotExist, errors.New("neither gosh nor sh"))
}
