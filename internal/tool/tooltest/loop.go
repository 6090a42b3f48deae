package tooltest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
)

// Loop makes a loop device of a new sparse file, and returns its path. Options
// are losetup's: --sector-size 4096.
func Loop(t testing.TB, size int64, options ...string) string {
	t.Helper()
	Root(t)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		Missing(t, "no loop devices: "+err.Error())
	}
	run := Need(t, "losetup", "partx")
	file := filepath.Join(t.TempDir(), "disk.img")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "losetup", Args: append(append([]string{"--find", "--show"}, options...), file)})
	if err != nil {
		t.Fatal(err)
	}
	dev := strings.TrimSpace(string(out.Stdout))
	forget := func(ctx context.Context) {
		// Partitions that were added one by one stay for the next user of the
		// device. That there are none is an error of partx, and none here.
		_, _ = run.Run(ctx, tool.Cmd{Name: "partx", Args: []string{"--delete", dev}})
	}
	forget(t.Context())
	t.Cleanup(func() {
		forget(context.Background()) // t.Context has ended by now
		if err := detach(dev); err != nil {
			t.Errorf("detach %s: %v", dev, err)
		}
	})
	return dev
}

func detach(dev string) error {
	f, err := os.Open(dev)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0), f.Close())
}
