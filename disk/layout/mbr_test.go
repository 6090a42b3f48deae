package layout

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// TestPlacementOfTables compares with what parted makes when it is called as
// disko calls it.
func TestPlacementOfTables(t *testing.T) {
	run := tooltest.Need(t, "parted")
	log := func(start, end string) MBRPartition { return MBRPartition{PartType: "logical", Start: start, End: end} }
	ext := func(start, end string) MBRPartition {
		return MBRPartition{PartType: "extended", Start: start, End: end}
	}
	part := func(start, end string) MBRPartition { return MBRPartition{Name: "x", Start: start, End: end} }
	const gib = 1 << 30
	tests := []struct {
		format string
		size   int64
		parts  []MBRPartition
	}{
		{"msdos", 8 * gib, []MBRPartition{{}}},
		{"msdos", 8 * gib, []MBRPartition{part("0%", "33%"), part("33%", "66%"), part("66%", "100%")}},
		{"msdos", 8 * gib, []MBRPartition{part("1MiB", "512MiB"), part("512MiB", "100%")}},
		{"msdos", 8 * gib, []MBRPartition{part("1MiB", "500M"), part("500M", "-1GB"), part("-1GB", "100%")}},
		{"msdos", 8 * gib, []MBRPartition{part("1", "100"), part("100", "2.5GB"), part("3GiB", "-512MiB")}},
		{"msdos", 8 * gib, []MBRPartition{part("2048s", "20479s"), part("30000s", "40001s"), part("40002s", "1GiB")}},
		{"msdos", 8 * gib, []MBRPartition{part("0%", "10%"), ext("10%", "100%"), log("10%", "40%"), log("40%", "70%"), log("70%", "100%")}},
		{"msdos", 8 * gib, []MBRPartition{ext("1MiB", "4GiB"), log("2MiB", "1GiB"), log("1025MiB", "2GiB"), part("4GiB", "100%")}},
		{"msdos", 8 * gib, []MBRPartition{ext("0%", "100%"), log("0%", "1GB"), log("1GB", "2GB"), log("2GB", "100%")}},
		{"msdos", 100 << 20, []MBRPartition{part("0%", "33%"), part("33%", "100%")}},
		{"msdos", 100 << 20, []MBRPartition{part("1MiB", "10MB"), ext("10MB", "100%"), log("10MB", "20MB"), log("20MB", "50%"), log("50%", "100%")}},
		{"gpt", 8 * gib, []MBRPartition{part("0%", "32MiB"), part("32MiB", "512MiB"), part("512MiB", "100%")}},
		{"gpt", 8 * gib, []MBRPartition{part("1MiB", "100MiB"), part("100MiB", "200MiB"), part("200MiB", "100%")}},
		{"gpt", 8 * gib, []MBRPartition{part("0%", "50%"), part("50%", "100%")}},
		{"gpt", 8 * gib, []MBRPartition{part("0%", "17%"), part("2GB", "3.3GB"), part("5GB", "-1GB"), part("95%", "-1MiB")}},
		{"gpt", 100 << 20, []MBRPartition{part("1MiB", "33MiB"), part("33MiB", "100%")}},
		{"gpt", 8 * gib, []MBRPartition{part("0%", "50%"), part("40%", "60%")}},
		{"msdos", 20 * gib, []MBRPartition{part("838860s", "1843MiB"), part("1843MiB", "6758MiB"), part("33%", "34812723s")}},
		{"gpt", 8 * gib, []MBRPartition{part("1546MB", "4209MB"), part("8220835s", "5570MiB"), part("68%", "14260633s")}},
		{"msdos", 3*gib + 77*512, []MBRPartition{part("6%", "579MB"), part("18%", "28%"), part("860MiB", "1997MB"), part("1997MB", "2383MB")}},
		{"msdos", 8 * gib, []MBRPartition{part("1MiB", "8192MiB")}},
		{"msdos", 8 * gib, []MBRPartition{part("0%", "120%")}},
		{"msdos", 8 * gib, []MBRPartition{part("0%", "17.3%")}},
		{"msdos", 8 * gib, []MBRPartition{part("0%", "-10%")}},
		{"msdos", 8 * gib, []MBRPartition{part("50%", "20%")}},
		{"msdos", 8 * gib, []MBRPartition{part("0.5GB", "2GB")}},
		{"msdos", 3 << 40, []MBRPartition{part("0%", "100%")}},
	}
	for i, tt := range tests {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			m := &MBR{Format: tt.format, Partitions: tt.parts}
			table, err := tableOf{KindDisk, "x", "x", &Content{m}}.place(Geometry{Size: tt.size, SectorSize: 512})
			got := ""
			for _, e := range table.Entries {
				got += fmt.Sprintf("%d %d %d\n", e.Number, e.FirstLBA, e.LastLBA)
			}
			want, ok := viaParted(t, run, m, tt.size)
			if ok != (err == nil) || ok && got != want {
				t.Errorf("got\n%s%v\nparted makes (ok %v)\n%s", got, err, ok, want)
			}
		})
	}
}

var partedLine = regexp.MustCompile(`(?m)^ *(\d+) +(\d+)s +(\d+)s `)

func viaParted(t *testing.T, run tool.Runner, m *MBR, size int64) (string, bool) {
	args := []string{"--script", sparse(t, size), "--", "mklabel", m.Format}
	for _, p := range m.Partitions {
		name := or(p.PartType, "primary")
		if m.Format == "gpt" {
			name = p.Name
		}
		args = append(args, "mkpart", name)
		if p.FSType != "" {
			args = append(args, p.FSType)
		}
		args = append(args, or(p.Start, "0%"), or(p.End, "100%"))
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "parted", Args: append(args, "unit", "s", "print")})
	if err != nil {
		t.Log(err)
		return "", false
	}
	list := ""
	for _, m := range partedLine.FindAllStringSubmatch(string(out.Stdout), -1) {
		list += strings.Join(m[1:], " ") + "\n"
	}
	return list, true
}

// TestTypesOfTables compares types and flags with those that parted sets.
func TestTypesOfTables(t *testing.T) {
	run := tooltest.Need(t, "parted", "sfdisk")
	for format, flags := range map[string][]string{"gpt": sortedKeys(gptFlags), "msdos": sortedKeys(mbrFlags)} {
		var parts []MBRPartition
		for _, fs := range sortedKeys(mbrTypes) {
			parts = append(parts, MBRPartition{FSType: fs})
		}
		for _, f := range flags {
			parts = append(parts, MBRPartition{Flags: []string{f}})
		}
		parts = append(parts, MBRPartition{FSType: "fat32", Bootable: true}, MBRPartition{FSType: "ext4"}, MBRPartition{FSType: "ntfs"},
			MBRPartition{FSType: "ext4", Flags: []string{"boot", "raid"}})
		if format == "gpt" {
			typesOfTable(t, run, format, parts)
			continue
		}
		for some := range slices.Chunk(parts, maxPrimary) { // one of them bootable
			typesOfTable(t, run, format, some)
		}
	}
}

func typesOfTable(t *testing.T, run tool.Runner, format string, parts []MBRPartition) {
	img := sparse(t, 128<<20)
	args := []string{"--script", img, "mklabel", format}
	for i, p := range parts {
		args = append(args, "mkpart", "primary")
		if p.FSType != "" {
			args = append(args, p.FSType)
		}
		args = append(args, fmt.Sprintf("%dMiB", 2*i+1), fmt.Sprintf("%dMiB", 2*i+2))
		if p.Bootable {
			args = append(args, "set", strconv.Itoa(i+1), "boot", "on")
		}
		for _, f := range p.Flags {
			args = append(args, "set", strconv.Itoa(i+1), f, "on")
		}
	}
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "parted", Args: args}); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "sfdisk", Args: []string{"--json", img}})
	if err != nil {
		t.Fatal(err)
	}
	var is struct {
		PartitionTable struct {
			Partitions []struct {
				Type     string
				Bootable bool
				Attrs    string
			}
		}
	}
	if err := json.Unmarshal(out.Stdout, &is); err != nil || len(is.PartitionTable.Partitions) != len(parts) {
		t.Fatalf("%v: %s", err, out.Stdout)
	}
	table := Table{}
	if err := placeMBR(&table, &MBR{Format: format, Partitions: inOrder(parts)}, Geometry{Size: 128 << 20, SectorSize: 512}); err != nil {
		t.Fatal(err)
	}
	attributes := map[uint64]string{0: "", 1 << 2: "LegacyBIOSBootable"}
	for i, e := range table.Entries {
		want, got := is.PartitionTable.Partitions[i], strings.ToUpper(e.Type.String())
		if e.MBR != nil {
			got = strconv.FormatUint(uint64(e.MBR.Type), 16)
		}
		if got != want.Type || attributes[e.Attributes] != want.Attrs || want.Bootable != (e.MBR != nil && e.MBR.Bootable) {
			t.Errorf("%s %+v: got type %s, attributes %#x, %+v; parted sets %+v", format, parts[i], got, e.Attributes, e.MBR, want)
		}
	}
}

// inOrder gives each partition a place after the one before.
func inOrder(parts []MBRPartition) []MBRPartition {
	parts = slices.Clone(parts)
	for i := range parts {
		parts[i].Start, parts[i].End = fmt.Sprintf("%dMiB", 2*i+1), fmt.Sprintf("%dMiB", 2*i+2)
	}
	return parts
}
