package logwrites

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// QEMU's blklogwrites driver writes logs that Open reads, and that rebuild what
// QEMU wrote to the disk.
func TestQEMU(t *testing.T) {
	run := tooltest.Need(t, "qemu-io")
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			dir := t.TempDir()
			disk, logFile := filepath.Join(dir, "disk"), filepath.Join(dir, "log")
			for path, size := range map[string]int64{disk: 8 << 20, logFile: 0} {
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, size); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"-t", "writeback", "-d", "unmap", "--image-opts", fmt.Sprintf("driver=blklogwrites,log-sector-size=%d,discard=unmap,"+
				"file.driver=file,file.filename=%s,file.discard=unmap,log.driver=file,log.filename=%s", sector, disk, logFile)}
			for _, c := range []string{
				"write -P 0x11 0 4096", "write -P 0x22 8192 8192", "flush", "write -P 0x33 4096 4096", "flush",
				"write -P 0x44 1M 128k", "write -z 1M 64k", "discard 2M 1M", "write -P 0x55 20480 4096",
			} {
				args = append(args, "-c", c)
			}
			if out, err := run.Run(t.Context(), tool.Cmd{Name: "qemu-io", Args: args}); err != nil {
				t.Fatalf("%v\n%s", err, out.Stdout)
			}
			f, err := os.Open(logFile)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			l, err := Open(f)
			if err != nil {
				t.Fatal(err)
			}
			checkQEMU(t, l, disk, sector)
		})
	}
}

func checkQEMU(t *testing.T, l *Log, disk string, sector int) {
	t.Helper()
	var got []string
	for _, e := range l.Entries {
		got = append(got, fmt.Sprintf("%d+%d %v", e.Offset, e.Length, e.Flags))
	}
	// QEMU flushes when it closes the disk.
	want := []string{"0+4096 ", "8192+8192 ", "0+0 flush", "4096+4096 ", "0+0 flush", "1048576+131072 ", "1048576+65536 ",
		"2097152+1048576 discard", "20480+4096 ", "0+0 flush"}
	if l.SectorSize != sector || fmt.Sprint(got) != fmt.Sprint(want) || l.Counted != len(want) {
		t.Errorf("sectors of %d, %d entries counted of\n%q, want\n%q", l.SectorSize, l.Counted, got, want)
	}
	wrote, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	end := NewOverlay(nil, int64(len(wrote)), sector)
	if err := l.Cut(len(l.Entries), All()).Apply(end); err != nil {
		t.Fatal(err)
	}
	if b := content(t, end); !bytes.Equal(b, wrote) || bytes.IndexByte(b, 0x44) != 1<<20+64<<10 {
		t.Error("the log does not rebuild the disk")
	}
	states := map[byte]bool{} // of the second that was flushed
	err = l.Replay(nil, int64(len(wrote)), l.Cuts(Sample{}), func(c Cut, d *Overlay) error {
		b := content(t, d)
		if c.N > 2 && b[0] != 0x11 || c.N > 4 && b[4096] != 0x33 {
			return errors.New("what was flushed is lost")
		}
		states[b[4096]] = true
		return nil
	})
	if err != nil || len(states) != 2 {
		t.Errorf("%v, states %v", err, states)
	}
}
