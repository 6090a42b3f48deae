package main

import "path"

// rescue are the u-root commands beside vic-init, chosen for a person at the
// console of a machine that did not install: look (disks, links, logs,
// processes), copy, mount, fetch, and leave.
var rescue = []string{
	"blkid", "cat", "chmod", "cp", "dd", "df", "dmesg", "du", "echo", "find",
	"free", "gosh", "grep", "head", "hexdump", "hostname", "insmod", "ip",
	"kill", "ln", "ls", "lsmod", "mkdir", "mount", "mv", "ping", "ps",
	"rm", "rmmod", "shasum", "shutdown", "sleep", "sync", "tail", "umount",
	"uname", "wc",
}

// own are rescue commands that are written here.
var own = []string{"github.com/victorinix/vic/initramfs/programs/wget"}

const coreCommands = "github.com/u-root/u-root/cmds/core/"

// packages returns the import paths of all commands of the busybox.
func packages(initPkg string) []string {
	paths := append([]string{initPkg}, own...)
	for _, name := range rescue {
		paths = append(paths, coreCommands+name)
	}
	return paths
}

// names returns the names that the busybox registers for paths.
func names(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = path.Base(p)
	}
	return out
}
