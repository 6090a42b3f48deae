package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Swap is an area or a file that is swapped to, a line of /proc/swaps.
type Swap struct {
	Path     string
	File     bool  // it is a file of a file system
	Used     int64 // bytes of it that hold memory of processes
	Priority int   // below 0: the kernel chose it
}

// Swaps lists what is swapped to; nothing on a kernel without swap.
func (r Root) Swaps() ([]Swap, error) {
	text, err := r.Text("proc/swaps")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read swaps: %w", err)
	}
	var list []Swap
	for i, line := range strings.Split(text, "\n") {
		f := strings.Fields(line) // Filename Type Size Used Priority
		if i == 0 || len(f) == 0 {
			continue
		}
		if len(f) < 5 {
			return nil, fmt.Errorf("read swaps: unexpected line %q", line)
		}
		kib, err := strconv.ParseInt(f[3], 10, 64)
		priority, err2 := strconv.Atoi(f[4])
		if errors.Join(err, err2) != nil {
			return nil, fmt.Errorf("read swaps: unexpected line %q", line)
		}
		list = append(list, Swap{Path: unescape(f[0]), File: f[1] == "file", Used: kib << 10, Priority: priority})
	}
	return list, nil
}

// Available is how much memory can be had without swapping, in bytes:
// MemAvailable of proc(5).
func (r Root) Available() (int64, error) {
	text, err := r.Text("proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read available memory: %w", err)
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read available memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("read available memory: no MemAvailable in /proc/meminfo")
}

// KernelName is the last part of a path in /dev, after following links.
func (r Root) KernelName(path string) string {
	if target, err := filepath.EvalSymlinks(r.join(path)); err == nil {
		path = target
	}
	return filepath.Base(path)
}
