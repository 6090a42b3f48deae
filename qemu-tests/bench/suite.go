package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// repository is where the measurements run from.
const repository = "../.."

// Suite is everything there is to measure, and what it is measured with.
type Suite struct {
	Vic          Vic
	Dir          string // on the file system of Vic.Cache
	Hello, Guest string // compiled
	Rounds       int    // of what is short
	// Old switches a machine on that another system runs on, which vic did not make.
	Old func() *oldsystem.System
	// AccessPoint switches an access point on, and off when it serves. It tells its
	// bundle, and after how many seconds of its kernel all its services were ready.
	AccessPoint func(told func(*builder.Bundle, float64))
}

// Part is what can be measured by itself.
type Part struct {
	Name, Title, Note string
	Measure           func(context.Context) ([]Row, error)
}

// Parts are all parts, in the order of the report.
func (s Suite) Parts() []Part {
	return []Part{
		{"build", "Sizes and builds", "", s.builds},
		{"payload", "The payload", "", s.payload},
		{"images", "Disk images", imagesNote, s.images},
		{"boot", "The RAM system's start", bootNote, s.boots},
		{"format", "Formatting a disk", formatNote, s.formats},
		{"copy", "Copying the payload", copyNote, s.copies},
		{"flash", "Memory cards", flashNote, s.flashes},
		{"serving", "The access point", servingNote, s.serving},
		{"facts", "Facts", factsNote, s.facts},
		{"remote", "Another machine", remoteNote, s.remote},
		{"install", "A whole install, in 256 MiB", "", s.installs},
	}
}

// The notes say what the figures mean.
const (
	bootNote = "Ready means that the system image is verified and mounted and that there is a\n" +
		"DHCP lease. Disk controllers may still be looking for disks: a request waits\n" +
		"for them, a person at the console does not."
	copyNote = "The bottleneck is to read the image from a cold cache, not to write: that alone\n" +
		"is the second line, while tar reads its tree uncompressed and in one go."
	servingNote = "All services of the appliance: it has joined the wireless network, which is a\n" +
		"simulated one in the same machine, has an address there, and serves its Ethernet side."
)

// The sizes of the issue are in millions of bytes.
const megabyte = 1e6

// kernels are the bundles, and how large they may be.
var kernels = []struct {
	name  string
	limit float64 // MB
}{{"cloud", 24}, {"generic", 45}}

// Fill has the cache hold what the measurements take from it: they use no network.
func (s Suite) Fill(ctx context.Context) error {
	dir := filepath.Join(s.Dir, "fill")
	for _, args := range [][]string{
		{"build", "installer", "-o", "kernel=cloud"},
		{"build", "installer", "-o", "kernel=generic"},
		{"build", "debian", "-o", "kernel=cloud"},
		{"build", accessPoint, "--format", "disk"},
	} {
		if _, err := s.Vic.run(ctx, append(args, "--json", "--cache", s.Vic.Cache, "--out", dir)...); err != nil {
			return fmt.Errorf("fill the cache: %w", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s Suite) builds(ctx context.Context) (rows []Row, err error) {
	for _, k := range kernels {
		var took []float64
		for range s.Rounds {
			r, err := s.Vic.Run(ctx, "build", "installer", "-o", "kernel="+k.name, "--out", s.bundleDir(k.name))
			if err != nil {
				return nil, err
			}
			took = append(took, r.Total.Seconds())
		}
		size, err := builder.Size(s.bundleDir(k.name))
		if err != nil {
			return nil, err
		}
		rows = append(rows,
			Row{"bundle, " + k.name + " kernel", float64(size.Total) / megabyte, k.limit, "MB", "`vic size`"},
			Row{"`vic build installer`, " + k.name + " kernel", Median(took), 10, "s", fmt.Sprintf("warm cache, median of %d", s.Rounds)})
	}
	return rows, nil
}

func (s Suite) bundleDir(kernel string) string { return filepath.Join(s.Dir, "bundle-"+kernel) }

// bundle is the one for virtual machines.
func (s Suite) bundle(ctx context.Context) (*builder.Bundle, error) {
	dir := s.bundleDir("cloud")
	if _, err := os.Stat(dir); err != nil {
		if _, err := s.Vic.Run(ctx, "build", "installer", "-o", "kernel=cloud", "--out", dir); err != nil {
			return nil, err
		}
	}
	return builder.OpenBundle(dir)
}

func (s Suite) payloadDir() string { return filepath.Join(s.Dir, "payload") }

// payload takes vic build debian and the mmdebstrap that it runs from one run:
// same packages, same repository, same moment.
func (s Suite) payload(ctx context.Context) ([]Row, error) {
	cold, err := s.Vic.WithoutPayloads(filepath.Join(s.Dir, "cache"))
	if err != nil {
		return nil, err
	}
	r, err := cold.Run(ctx, "build", "debian", "-o", "kernel=cloud", "--out", s.payloadDir())
	if err != nil {
		return nil, err
	}
	mmdebstrap, err := r.Step("build mmdebstrap")
	if err != nil {
		return nil, err
	}
	size, err := builder.Size(s.payloadDir())
	if err != nil {
		return nil, err
	}
	return []Row{
		{"`vic build debian` to its mmdebstrap", r.Total.Seconds() / mmdebstrap.Seconds(), 1.5, "x",
			fmt.Sprintf("%.1f s to %.1f s, packages cached, payload not", r.Total.Seconds(), mmdebstrap.Seconds())},
		{"payload, cloud kernel", float64(size.Total) / megabyte, 0, "MB", "`vic size`"},
	}, nil
}

func (s Suite) boots(ctx context.Context) ([]Row, error) {
	b, err := s.bundle(ctx)
	if err != nil {
		return nil, err
	}
	t, err := Boot(ctx, b, s.Hello, s.Dir, s.Rounds)
	if err != nil {
		return nil, err
	}
	agent, hello := Median(t.Agent), Median(t.Hello)
	return []Row{{"kernel start to agent ready with a lease, to the least init", agent / hello, 1.5, "x",
		fmt.Sprintf("%.1f s to %.1f s by the guest's clock, medians of %d in turns", agent, hello, s.Rounds)}}, nil
}

func (s Suite) serving(ctx context.Context) ([]Row, error) {
	bare := filepath.Join(s.Dir, "hello.cpio")
	if err := writeFile(bare, func(f io.Writer) error { return initSegment(f, s.Hello) }); err != nil {
		return nil, err
	}
	var served, started []float64
	for i := range s.Rounds {
		err := errors.New("the access point does not serve")
		s.AccessPoint(func(b *builder.Bundle, seconds float64) {
			var least float64
			least, err = boot(ctx, b, bare, fmt.Sprintf("%s/bare-%d", s.Dir, i), helloPrinted)
			served, started = append(served, seconds), append(started, least)
		})
		if err != nil {
			return nil, err
		}
	}
	all, kernel := Median(served), Median(started)
	return []Row{{"kernel start to all services ready, to the least init", all / kernel, 3, "x",
		fmt.Sprintf("%.1f s to %.1f s by the guest's clock, medians of %d in turns", all, kernel, s.Rounds)}}, nil
}

func (s Suite) copies(ctx context.Context) ([]Row, error) {
	b, err := s.bundle(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.payloadDir()); err != nil {
		if _, err := s.Vic.Run(ctx, "build", "debian", "-o", "kernel=cloud", "--out", s.payloadDir()); err != nil {
			return nil, err
		}
	}
	times, err := Copy(ctx, b, filepath.Join(s.payloadDir(), builder.ImageFile), s.Guest, s.Dir, 2)
	if err != nil {
		return nil, err
	}
	tree, tar, read := Median(times["copytree"]), Median(times["tar"]), Median(times["read"])
	return []Row{
		{"copy of the payload onto ext4, to `tar -x`", tree / tar, 1.3, "x",
			fmt.Sprintf("%.1f s to %.1f s, cold cache, until on disk, in turns in one machine", tree, tar)},
		{"reading the payload alone, to `tar -x`", read / tar, 0, "x", fmt.Sprintf("%.1f s", read)},
	}, nil
}

func (s Suite) installs(ctx context.Context) (rows []Row, err error) {
	for _, firmware := range []string{"bios", "uefi"} {
		disk := filepath.Join(s.Dir, firmware+".img")
		r, err := s.Vic.Run(ctx, "install", "debian", "--vm", "--disk", disk+",size=8G", "--memory", "256M",
			"--firmware", firmware, "--yes", "-o", "hostname=bench", "-o", "kernel=cloud")
		if err != nil {
			return nil, err
		}
		if err := os.Remove(disk); err != nil {
			return nil, err
		}
		rows = append(rows, Row{firmware + ", all", r.Total.Seconds(), 0, "s", "until the installed system has answered"})
		for _, p := range event.Phases() {
			if took, ok := r.Phases[p]; ok {
				rows = append(rows, Row{firmware + ", " + string(p), took.Seconds(), 0, "s", r.longest(p)})
			}
		}
	}
	return rows, nil
}

// longest names the step that took most of a phase.
func (r Run) longest(p event.Phase) string {
	best := ""
	for name, took := range r.Steps {
		var phase event.Phase
		var n int
		if n, _ = fmt.Sscan(name, &phase); n == 1 && phase == p && len(name) > len(p)+1 && (best == "" || took > r.Steps[best]) {
			best = name
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("%s: %.1f s", best[len(p)+1:], r.Steps[best].Seconds())
}

// Section is a table with a heading.
type Section struct {
	Title, Note string
	Rows        []Row
}

// Report is docs/benchmarks.md.
type Report struct {
	Accel    string // "kvm" or "tcg"
	CPUs     int    // of this machine
	Sections []Section
}

// Write writes the report. It says nothing about the machine but what the
// figures depend on.
func (r Report) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "# Figures\n\nWritten by `make bench` on %d processors, virtual machines under %s.\n"+
		"Ratios are of things that were measured in turns in the same run.\n", r.CPUs, r.Accel)
	if err != nil {
		return err
	}
	for _, s := range r.Sections {
		if _, err := fmt.Fprintf(w, "\n## %s\n\n", s.Title); err != nil {
			return err
		}
		if s.Note != "" {
			if _, err := fmt.Fprintf(w, "%s\n\n", s.Note); err != nil {
				return err
			}
		}
		if err := WriteTable(w, s.Rows); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, given)
	return err
}

// mkosi is how many seconds mkosi 25.3 takes for a bootable Debian 13 disk (cloud
// kernel, systemd, openssh-server) on 2 processors.
const mkosi = 93

// given are figures of others, for comparison: not measured here.
const given = `
## For comparison

| what | figure |
| --- | ---: |
| mkosi 25.3: a bootable Debian 13 disk (cloud kernel, systemd, openssh-server), on 2 processors | 93 s |
| its initrd | 56.9 MB |
| Debian's network installer | 52.9 MB |
| nix-dabei | about 40 MB |
`
