package logwrites

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// A flash holds what it was told before the disk's last write, and of what came after
// that one any beginning.
func TestFlash(t *testing.T) {
	disk := NewRecorder(blank(1<<20, 512), Faults{})
	f := NewFlash([]byte("......"), disk)
	write := func(w interface {
		WriteAt(p []byte, off int64) (int, error)
	}, text string, off int64) {
		t.Helper()
		if _, err := w.WriteAt([]byte(text), off); err != nil {
			t.Fatal(err)
		}
	}
	write(disk, string(make([]byte, 512)), 0) // entry 0
	write(f, "a", 0)                          // entry 1 marks these three
	write(f, "b", 1)
	write(f, "b", 1)                          // no change
	write(disk, string(make([]byte, 512)), 0) // entry 2
	write(f, "c", 2)                          // entry 3 marks it
	log := disk.Log()
	if len(log.Entries) != 4 || log.Entries[1].Label != FlashMark || log.Entries[3].Label != FlashMark {
		t.Fatalf("the log is %+v", log.Entries)
	}
	for n, want := range []string{"[......]", "[......]", "[...... a..... ab....]", "[ab....]", "[ab.... abc...]"} {
		seen := map[string]bool{}
		for seed := range uint64(64) {
			seen[string(f.At(log.Cut(n, All()), seed))] = true
		}
		var got []string
		for _, state := range []string{"......", "a.....", "ab....", "abc..."} {
			if seen[state] {
				got = append(got, state)
			}
		}
		if fmt.Sprint(got) != want || len(seen) != len(got) {
			t.Errorf("after %d entries: %v, want %s", n, seen, want)
		}
	}
	if _, err := f.WriteAt([]byte("xy"), 5); err == nil {
		t.Error("a write beyond the end has no error")
	}
}

// A device that is mounted is a file to everybody.
func TestMount(t *testing.T) {
	dev := blank(1<<20, 512)
	r := NewRecorder(dev, Faults{})
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	Mount(t, r, path)
	run := tooltest.Need(t, "dd")
	_, err := run.Run(t.Context(), tool.Cmd{Name: "dd", Args: []string{"of=" + path, "bs=4096", "seek=1", "conv=notrunc,fsync"}, Stdin: bytes.NewReader(bytes.Repeat([]byte("ab"), 2048))})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2)
	if _, err := dev.ReadAt(p, 4096); err != nil || string(p) != "ab" {
		t.Errorf("%q, %v", p, err)
	}
	if log := r.Log(); log.Writes() != 1 || log.Entries[len(log.Entries)-1].Flags != Flush {
		t.Errorf("the log is %+v", log.Entries)
	}
}
