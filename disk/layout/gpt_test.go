package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// TestPlacement compares with what sgdisk makes when it is called as disko
// calls it.
func TestPlacement(t *testing.T) {
	run := tooltest.Need(t, "sgdisk")
	ten := 10
	tests := [][]Partition{
		{{Size: "100%"}},
		{{}},
		{{Size: "5M"}, {End: "-1M"}},
		{{Size: "1000"}, {Size: "1500K"}, {Size: "100%"}},
		{{Start: "5000", Size: "1M"}},
		{{Start: "5000", End: "20001"}},
		{{Start: "1000s", Size: "1M"}},
		{{Start: "30M", Size: "1M"}, {}, {}},
		{{Start: "34", Size: "1M"}, {Start: "2050", Size: "1M"}},
		{{Alignment: 8, Size: "1001"}, {Alignment: 8, Size: "1001"}},
		{{Alignment: 1, Start: "100", Size: "1001"}},
		{{End: "20M"}, {End: "62M"}},
		{{Start: "+2M", Size: "1M"}, {Start: "-20M"}},
		{{Size: "2M"}, {Size: "50M"}, {Size: "20M", Priority: &ten}},
		{{Start: "34s", End: "2047s", Type: "EF02"}, {Size: "10M"}, {Size: "100%"}},
		{{Start: "1M", End: "16MiB"}, {Start: "40s", Size: "100", Priority: &ten}, {}},
		{{Start: "3000", Alignment: 8, Size: "1M"}, {Size: "1M"}, {Size: "100%"}},
	}
	for i, parts := range tests {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			gpt := &GPT{Partitions: map[string]Partition{}}
			for j, p := range parts {
				gpt.Partitions[fmt.Sprintf("p%d", j)] = p
			}
			table, err := tableOf{KindDisk, "x", "x", &Content{gpt}}.place(Geometry{Size: 64 << 20, SectorSize: 512})
			got := ""
			for _, e := range table.Entries {
				got += fmt.Sprintf("%d %d %d\n", e.Number, e.FirstLBA, e.LastLBA)
			}
			want, ok := viaSgdisk(t, run, gpt)
			if ok != (err == nil) || ok && got != want {
				t.Errorf("got\n%s%v\nsgdisk makes (ok %v)\n%s", got, err, ok, want)
			}
		})
	}
}

var sgdiskLine = regexp.MustCompile(`(?m)^ +(\d+) +(\d+) +(\d+) `)

// viaSgdisk runs sgdisk once for each partition, as disko does: it then goes by
// the alignment of what is there already. Where all are aligned alike one run
// does the same, and is a second quicker for each that it saves.
func viaSgdisk(t *testing.T, run tool.Runner, gpt *GPT) (string, bool) {
	img := sparse(t, 64<<20)
	args := []string{"--align-end"}
	var runs [][]string
	for i, key := range order(gpt.Partitions) {
		p := gpt.Partitions[key]
		if p.Alignment == 0 && (strings.HasSuffix(p.Start, "s") || strings.HasSuffix(p.End, "s")) {
			p.Alignment = 1
		}
		if p.Alignment > 0 {
			args = append(args, fmt.Sprintf("--set-alignment=%d", p.Alignment))
		}
		end := "+" + or(p.Size, "0")
		if p.Size == "100%" {
			end = "-0"
		}
		args = append(args, fmt.Sprintf("--new=%d:%s:%s", i+1, or(p.Start, "0"), or(p.End, end)))
		if p.Alignment > 0 && i < len(gpt.Partitions)-1 {
			runs, args = append(runs, args), []string{"--align-end"}
		}
	}
	var out tool.Output
	for _, args := range append(runs, append(args, "--pretend", "--print")) {
		var err error
		if out, err = run.Run(t.Context(), tool.Cmd{Name: "sgdisk", Args: append(args, img)}); err != nil {
			t.Log(err)
			return "", false
		}
	}
	list := ""
	for _, m := range sgdiskLine.FindAllStringSubmatch(string(out.Stdout), -1) {
		list += strings.Join(m[1:], " ") + "\n"
	}
	return list, true
}

// sparse makes an empty image, in memory where that is possible: both programs
// wait for a disk after each change.
func sparse(t *testing.T, size int64) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vic-layout-")
	if err != nil {
		dir = t.TempDir()
	} else {
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	img := filepath.Join(dir, "img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	return img
}

// TestCodes asks sgdisk what each code means, and whether it has others.
func TestCodes(t *testing.T) {
	run := tooltest.Need(t, "sgdisk")
	img := sparse(t, 300<<20)
	all := sortedKeys(codes)
	for some := range slices.Chunk(all, 100) {
		args := []string{"--pretend", "-o"}
		for i, code := range some {
			args = append(args, "-n", fmt.Sprintf("%d:0:+1M", i+1), "-t", fmt.Sprintf("%d:%s", i+1, code))
		}
		for i := range some {
			args = append(args, "-i", strconv.Itoa(i+1))
		}
		out, err := run.Run(t.Context(), tool.Cmd{Name: "sgdisk", Args: append(args, img)})
		if err != nil {
			t.Fatal(err)
		}
		is := guidCode.FindAllStringSubmatch(string(out.Stdout), -1)
		if len(is) != len(some) {
			t.Fatalf("sgdisk says %d times what a type is, expected %d", len(is), len(some))
		}
		for i, code := range some {
			if got := strings.ToLower(is[i][1]); got != codes[code] {
				t.Errorf("%s is %s, here %s", code, got, codes[code])
			}
		}
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "sgdisk", Args: []string{"-L"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range listed.FindAllStringSubmatch(string(out.Stdout), -1) {
		if codes[strings.ToUpper(m[1])] == "" {
			t.Errorf("%s is missing", m[1])
		}
	}
}

var (
	guidCode = regexp.MustCompile(`Partition GUID code: ([0-9A-F-]{36})`)
	listed   = regexp.MustCompile(`(?m)(?:^|\s)([0-9a-f]{4}) \S`)
)

func TestLongLabel(t *testing.T) {
	if l := (Partition{}).label("disk-main-", strings.Repeat("x", 28)); len(l) != 36 || strings.HasPrefix(l, "disk-") {
		t.Errorf("label %q", l)
	}
	if l := (Partition{}).label("disk-main-", strings.Repeat("x", 26)); l != "disk-main-"+strings.Repeat("x", 26) {
		t.Errorf("label %q", l)
	}
}
