package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/flash"
)

// allow refuses devices that the image does not fit, and asks.
func (f *flashFlags) allow(ctx context.Context, a *app, job *flash.Job, chosen []flashTarget, events *clock) error {
	var errs []error
	var devices []*flash.Candidate
	for _, t := range chosen {
		var err error
		switch {
		case t.device != nil:
			err = job.Fits(t.device.Size, t.device.SectorSize)
			devices = append(devices, t.device)
		case t.size > 0:
			err = job.Fits(t.size, 512)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.target.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fail(exitRefused, err, "nothing was written")
	}
	if !job.HasTable() {
		events.Emit(event.Event{Phase: event.Verify, Step: "image", State: event.Done, Message: "warning: it has no partition table: firmware starts nothing from it"})
	}
	if f.yes || len(devices) == 0 {
		return nil
	}
	loss, names, err := describeLoss(ctx, devices)
	if err != nil {
		return err
	}
	return a.confirm(loss, names)
}

// describeLoss shows what is on the devices.
func describeLoss(ctx context.Context, devices []*flash.Candidate) (loss, names string, err error) {
	var kernel, paths []string
	var b bytes.Buffer
	for _, c := range devices {
		kernel = append(kernel, sysfs.Root("/").KernelName(c.Device))
		paths = append(paths, c.Device)
	}
	found, err := envscan.ScanDisks(ctx, envscan.Config{Root: "/", Timeout: 10 * time.Second}, kernel...)
	if err == nil {
		err = printDisks(&b, found)
	}
	if err != nil {
		return "", "", err
	}
	b.WriteString("\nEverything on these is lost:\n")
	for _, c := range devices {
		fmt.Fprintf(&b, "  %s\n", c)
	}
	return b.String(), strings.Join(paths, " "), nil
}

// states says what devices are left in.
var states = map[flash.State]string{
	flash.Untouched: "nothing was written to it",
	flash.Damaged:   "nothing was written to it but the pages of 4 KiB that its size was probed with, and these could not be put back",
	flash.Empty:     "it is half-written: its first sectors are empty, so it has no partitions and starts nothing",
	flash.Torn:      "its first sectors were being written: do not use it",
	flash.Done:      "it is written",
}

// tell ends a run: what became of each device.
func (f *flashFlags) tell(ctx context.Context, a *app, source string, results []flash.Result, imageErr error) error {
	code := exitDone
	var errs []error
	for _, r := range results {
		if r.Err == nil {
			continue
		}
		if code == exitDone {
			code = exitUntouched
		}
		if r.State != flash.Untouched {
			code = exitResumable
		}
		why := r.Err
		if ctx.Err() != nil && errors.Is(why, context.Cause(ctx)) {
			why = errors.New("stopped")
		}
		if imageErr != nil && ctx.Err() == nil && errors.Is(why, imageErr) {
			why = fmt.Errorf("image %s: %w", source, why)
		}
		errs = append(errs, fmt.Errorf("%s: %w; %s", r.Device, why, states[r.State]))
	}
	if err := f.table(a, source, results); err != nil {
		return err
	}
	hint := ""
	if code == exitResumable {
		hint = "flash it again"
	}
	return fail(code, errors.Join(errs...), hint)
}

// table is for people: a sentence for one device, a table for several.
func (f *flashFlags) table(a *app, source string, results []flash.Result) error {
	if f.json {
		return nil
	}
	if len(results) == 1 {
		r := results[0]
		if r.Err != nil {
			return nil
		}
		_, err := fmt.Fprintf(a.stdout, "flashed %s onto %s: %s in %s, %s\n", short(source), r.Device, amounts(r), round(r.Writing), f.compared(r))
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tRESULT\tWRITTEN\tIN\tREAD BACK")
	for _, r := range results {
		result := "done"
		if r.Err != nil {
			result = "FAILED, " + string(r.State)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Device, result, amounts(r), round(r.Writing), f.compared(r))
	}
	return w.Flush()
}

func amounts(r flash.Result) string {
	text := flash.Bytes(r.Written)
	if r.Skipped > 0 {
		text += fmt.Sprintf(" (and %s of zeroes)", flash.Bytes(r.Skipped))
	}
	return text
}

func (f *flashFlags) compared(r flash.Result) string {
	if r.Checking == 0 {
		return "not read back"
	}
	return "read back in " + round(r.Checking)
}

func round(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// short is a source for people: the hash of a URL is long.
func short(source string) string {
	name, _, _ := strings.Cut(source, "#sha")
	if flash.IsURL(name) {
		return filepath.Base(name)
	}
	return name
}

// printList is --list.
func (f *flashFlags) printList(a *app) error {
	list, err := flash.List("/")
	if err != nil {
		return err
	}
	if f.json {
		if list == nil {
			list = []flash.Candidate{}
		}
		return a.writeJSON(list)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tSIZE\tTRANSPORT\tMODEL\tNOTE")
	for _, c := range list {
		note := "ready"
		if err := c.Refuse(flash.Consent{}); err != nil {
			var r *flash.Refusal
			if errors.As(err, &r) {
				note = r.Why
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Device, flash.Bytes(c.Size), c.Transport, orDash(c.Model), note)
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
