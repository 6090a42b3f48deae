package bench

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/accesspoint/appliance"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// program compiles one of the programs that run in the machines.
func program(t *testing.T, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./"+name)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}

// vic is bin/vic with the user's cache.
func vic(t *testing.T) Vic {
	t.Helper()
	path, err := filepath.Abs(repository + "/bin/vic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make build", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return Vic{path, filepath.Join(cache, "vic")}
}

func TestMain(m *testing.M) { lab.Main(m) }

// TestBench measures everything that VIC_BENCH asks for, and when that is all
// of it writes docs/benchmarks.md.
func TestBench(t *testing.T) {
	parts := strings.Split(os.Getenv("VIC_BENCH"), ",")
	if parts[0] == "" {
		t.Skip("measuring takes a quarter of an hour: make bench")
	}
	all := parts[0] == "1"
	s := Suite{Vic: vic(t), Dir: scratchDir(t), Hello: program(t, "hello"), Guest: program(t, "guest"), Rounds: 3}
	s.Old = func() *oldsystem.System { return oldsystem.Start(t, oldsystem.Config{MemoryMiB: 256}) }
	s.AccessPoint = func(told func(*builder.Bundle, float64)) {
		t.Run("access point", func(t *testing.T) { // its end takes everything away
			a := appliance.New(t, "amd64")
			last := 0.0
			for _, s := range a.Serving(t) {
				t.Logf("%6.2f s %s is %s", s.Since, s.Name, s.State)
				last = max(last, s.Since)
			}
			a.Kill()
			told(a.Bundle, last)
		})
	}
	if err := s.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	report := Report{Accel: vm.ProbeAccel(t.Context()), CPUs: runtime.NumCPU()}
	for _, p := range s.Parts() {
		if !all && !slices.Contains(parts, p.Name) {
			continue
		}
		t.Logf("measuring: %s", p.Name)
		rows, err := p.Measure(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		report.Sections = append(report.Sections, Section{p.Title, p.Note, rows})
	}
	var b bytes.Buffer
	if err := report.Write(&b); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", b.String())
	if !all {
		return
	}
	if err := os.WriteFile(repository+"/docs/benchmarks.md", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// scratchDir is beside the cache, whose files are linked to.
func scratchDir(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, "vic-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	err := WriteTable(&b, []Row{
		{"bundle", 22.61, 24, "MB", "size"},
		{"start", 1.72, 1.5, "x", "boot"},
		{"install", 167.2, 0, "s", "events"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `| what | measured | target | met | how |
| --- | ---: | ---: | --- | --- |
| bundle | 22.6 MB | at most 24.0 MB | yes | size |
| start | 1.72 times | at most 1.50 times | **no** | boot |
| install | 167.2 s |  |  | events |
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := Median(test.values); got != test.want {
			t.Errorf("Median(%v) = %v, want %v", test.values, got, test.want)
		}
	}
}

// fakeEvents are played back, one second apart.
type fakeEvents []event.Event

func (f *fakeEvents) Next() (event.Event, error) {
	if len(*f) == 0 {
		return event.Event{}, io.EOF
	}
	e := (*f)[0]
	*f = (*f)[1:]
	return e, nil
}

func TestCollect(t *testing.T) {
	now := time.Unix(0, 0)
	r, err := collect(&fakeEvents{
		{Phase: event.Copy, State: event.Start},
		{Phase: event.Copy, Step: "payload", State: event.Start},
		{Phase: event.Copy, Step: "payload", State: event.Progress},
		{Phase: event.Copy, Step: "payload", State: event.Done},
		{Phase: event.Boot, Step: "GRUB", State: event.Done}, // never began
	}, func() time.Time { now = now.Add(time.Second); return now })
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Phases[event.Copy]; got != 3*time.Second {
		t.Errorf("copy took %v", got)
	}
	if got, err := r.Step("copy pay"); err != nil || got != 2*time.Second {
		t.Errorf("payload took %v, %v", got, err)
	}
	if got, err := r.Step("boot GRUB"); err == nil {
		t.Errorf("GRUB took %v", got)
	}
}

func TestWithoutPayloads(t *testing.T) {
	cache, dir := t.TempDir(), t.TempDir()
	for _, name := range []string{"sha256/aa/deb", "payloads/x/payload.erofs", "bundles/y/vmlinuz"} {
		path := filepath.Join(cache, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v, err := Vic{"vic", cache}.WithoutPayloads(dir)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(v.Cache + "/sha256/aa/deb"); err != nil || string(b) != "sha256/aa/deb" {
		t.Errorf("package: %q, %v", b, err)
	}
	for _, name := range []string{"payloads", "bundles"} {
		if _, err := os.Stat(filepath.Join(v.Cache, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
}
