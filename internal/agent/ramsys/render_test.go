package ramsys

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/event"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// at is an event at a time after the first, in seconds.
func at(s float64, phase event.Phase, step string, state event.State, change ...func(*event.Event)) event.Event {
	ev := event.Event{Phase: phase, Step: step, State: state,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))}
	for _, c := range change {
		c(&ev)
	}
	return ev
}

func says(m string) func(*event.Event) { return func(e *event.Event) { e.Message = m } }

func of(done, total int64) func(*event.Event) {
	return func(e *event.Event) { e.Done, e.Total = done, total }
}

// install is a run as the agent tells it, with steps that overlap.
func install() []event.Event {
	return []event.Event{
		at(0, event.Enter, "system", event.Start),
		at(0.4, event.Enter, "modules", event.Done, says("virtio_net virtio_blk")),
		at(0.5, event.Enter, "network", event.Done, says("eth0 10.0.2.15/24 via 10.0.2.2")),
		at(0.9, event.Enter, "system", event.Done, says("/system.erofs verified and mounted")),
		at(1, event.Enter, "", event.Done, says("agent ready 4.1 s after the kernel started")),
		at(1.2, event.Partition, "sgdisk /dev/vda", event.Start),
		at(1.5, event.Partition, "sgdisk /dev/vda", event.Done),
		at(2, event.Copy, "payload", event.Start),
		at(2.1, event.Copy, "payload", event.Progress, of(8<<20, 812<<20)),
		at(2.2, event.Copy, "payload", event.Progress, of(16<<20, 812<<20)),
		at(3.2, event.Copy, "payload", event.Progress, of(400<<20, 812<<20)),
		at(3.3, event.Copy, "checksums of files that have a name so long that the line would wrap", event.Progress, of(3, 14)),
		at(4.3, event.Copy, "payload", event.Progress, of(700<<20, 812<<20)),
		at(6.5, event.Copy, "payload", event.Done, says("812 MiB")),
		at(6.6, event.Copy, "checksums of files that have a name so long that the line would wrap", event.Done),
		at(7, event.Boot, "grub-install", event.Failed, says("exit status 1: no space")),
		at(7.1, event.Finish, "", event.Failed, says("install GRUB: exit status 1")),
	}
}

func TestRenderGolden(t *testing.T) {
	var r renderer
	var got strings.Builder
	for _, ev := range install() {
		if text := r.render(ev); text != "" {
			fmt.Fprintf(&got, "%q\n", text)
		}
	}
	compareGolden(t, "testdata/install.golden", got.String())
}

// What a terminal shows in the end, when '\r' goes back to the first column.
func TestRenderOnTerminal(t *testing.T) {
	var r renderer
	var screen strings.Builder
	var line []rune
	column := 0
	for _, ev := range install() {
		for _, c := range r.render(ev) {
			switch {
			case c == '\r':
				column = 0
			case c == '\n':
				screen.WriteString(strings.TrimRight(string(line), " ") + "\n")
				line, column = nil, 0
			case column < len(line):
				line[column] = c
				column++
			default:
				line, column = append(line, c), column+1
			}
		}
	}
	if rest := strings.TrimSpace(string(line)); rest != "" {
		t.Errorf("a line is left: %q", rest)
	}
	compareGolden(t, "testdata/screen.golden", screen.String())
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}
