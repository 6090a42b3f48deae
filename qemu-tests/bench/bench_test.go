package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder"
)

// want says whether a part is to be measured: VIC_BENCH=1 is all of them,
// VIC_BENCH=boot,copy those.
func want(t *testing.T, part string) {
	t.Helper()
	v := os.Getenv("VIC_BENCH")
	if v != "1" && !strings.Contains(","+v+",", ","+part+",") {
		t.Skip("VIC_BENCH does not ask for it: make bench")
	}
}

const repository = "../.."

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

func dump(t *testing.T, v any) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", b)
}

func TestBenchBoot(t *testing.T) {
	want(t, "boot")
	b, err := builder.OpenBundle(os.Getenv("VIC_BENCH_BUNDLE"))
	if err != nil {
		t.Fatal(err)
	}
	times, err := Boot(t.Context(), b, program(t, "hello"), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	dump(t, times)
}

func TestBenchCopy(t *testing.T) {
	want(t, "copy")
	b, err := builder.OpenBundle(os.Getenv("VIC_BENCH_BUNDLE"))
	if err != nil {
		t.Fatal(err)
	}
	times, err := Copy(t.Context(), b, os.Getenv("VIC_BENCH_IMAGE"), program(t, "guest"), t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	dump(t, times)
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
