// Package sysfs reads what the kernel tells of block devices in /sys and
// /proc: which disks there are, what identifies them, who uses them.
//
// It only reads files below a root directory, so that tests give it a tree of
// their own, and opens no device. It is shared by disk, which acts on devices,
// and envscan, which describes machines.
package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Root is where /sys and /proc are: "/" for the running system.
type Root string

func (r Root) join(elem ...string) string {
	return filepath.Join(append([]string{string(r)}, elem...)...)
}

// Text reads an attribute and trims it.
func (r Root) Text(elem ...string) (string, error) {
	b, err := readFile(r.join(elem...))
	return strings.Trim(string(b), " \t\n\x00"), err
}

// Number reads an attribute that is a decimal number.
func (r Root) Number(elem ...string) (int64, error) {
	s, err := r.Text(elem...)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", r.join(elem...), err)
	}
	return n, nil
}

// Names lists a directory, sorted. One that does not exist is empty.
func (r Root) Names(elem ...string) ([]string, error) {
	entries, err := os.ReadDir(r.join(elem...))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// DevPath is the path below /sys/devices that a link such as /sys/block/sda
// or /sys/class/net/eth0 points to.
func (r Root) DevPath(elem ...string) (string, error) {
	link := r.join(elem...)
	target, err := os.Readlink(link)
	if err != nil {
		return "", err
	}
	path, err := filepath.Rel(r.join("sys/devices"), filepath.Join(filepath.Dir(link), target))
	if err != nil || strings.HasPrefix(path, "..") {
		return "", fmt.Errorf("read %s: it does not point into /sys/devices: %s", link, target)
	}
	return path, nil
}

func (r Root) exists(elem ...string) bool {
	_, err := os.Stat(r.join(elem...))
	return err == nil
}

// Path is where a file of the scanned system is in this one.
func (r Root) Path(elem ...string) string { return r.join(elem...) }

// ReadFile reads a file.
func (r Root) ReadFile(elem ...string) ([]byte, error) { return os.ReadFile(r.join(elem...)) }

// Readlink reads a link.
func (r Root) Readlink(elem ...string) (string, error) { return os.Readlink(r.join(elem...)) }

// Stat is os.Stat.
func (r Root) Stat(elem ...string) (fs.FileInfo, error) { return os.Stat(r.join(elem...)) }
