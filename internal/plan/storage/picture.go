package storage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/victorinix/vic/disk/layout"
)

// pictureWidth is the number of columns that a disk is drawn with.
const pictureWidth = 66

// Picture draws the disk before and after, to scale, one letter a partition:
//
//	main: /dev/vda (serial QM0001, 8.0 GiB)
//	  before  [AAAABBBBBBBBBBBBBBBBBBBBBB....]
//	    A  1  ESP   512.0 MiB  vfat "EFI"   kept
//	    B  2  home  7.0 GiB    ext4 "home"  lost
//	  after   [AAAACCCCCCCCCCCCCCCCCCCCCCCCCC]
//	    A  1  ESP   512.0 MiB  vfat  kept
//	    C  2  root  7.5 GiB    ext4  on /
func (p DiskPlan) Picture() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", p.Name, p.Disk)
	same := p.Before != nil && p.After != nil && len(p.Lost) == 0 && !p.changes()
	if !same {
		p.draw(&b, "before", p.Before, p.beforeRow)
	}
	p.draw(&b, "after", p.After, p.afterRow)
	if same {
		b.WriteString("  nothing on this disk changes hands\n")
	}
	return b.String()
}

// changes says whether a kept partition is resized, or one is added.
func (p DiskPlan) changes() bool {
	return len(p.Before.Entries) != len(p.After.Entries) ||
		slices.ContainsFunc(p.After.Entries, func(e layout.Entry) bool { return e.Kept && e.OldLast != e.LastLBA })
}

func (p DiskPlan) draw(b *strings.Builder, when string, t *layout.Table, row func(layout.Entry) []string) {
	if t == nil {
		what := "nothing known"
		if whole := p.whole(when); whole != "" {
			what = whole
		}
		fmt.Fprintf(b, "  %-6s  [%s]  no partitions: %s\n", when, strings.Repeat(" ", pictureWidth), what)
		return
	}
	fmt.Fprintf(b, "  %-6s  [%s]\n", when, bar(t))
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i, e := range byStart(t) {
		fmt.Fprintf(w, "    %c\t%d\t%s\n", letter(i), e.Number, strings.TrimRight(strings.Join(row(e), "\t"), "\t"))
	}
	w.Flush()
}

// whole is what a disk without a table holds.
func (p DiskPlan) whole(when string) string {
	if when == "after" {
		return p.Whole
	}
	var list []string
	for _, f := range p.Found {
		if f.Partition == 0 {
			list = append(list, f.String())
		}
	}
	return strings.Join(list, ", ")
}

func (p DiskPlan) beforeRow(e layout.Entry) []string {
	what := "-"
	for _, f := range p.Found {
		if f.Partition == e.Number {
			what = f.String()
		}
	}
	fate := "lost"
	if p.After != nil && slices.ContainsFunc(p.After.Entries, func(n layout.Entry) bool {
		return n.Number == e.Number && n.GUID == e.GUID && (n.Kept || len(p.Lost) == 0)
	}) {
		fate = "kept"
	}
	return []string{cmp.Or(e.Label, "-"), Bytes(e.Size(p.Before.SectorSize)), what, fate}
}

func (p DiskPlan) afterRow(e layout.Entry) []string {
	what, note := "-", ""
	if e.Content != nil {
		what, note = summary(*e.Content)
	}
	if e.Kept {
		fate := "kept"
		if e.OldLast != e.LastLBA {
			old := e
			old.LastLBA = e.OldLast
			fate = "kept, resized from " + Bytes(old.Size(p.After.SectorSize))
		}
		note = strings.TrimPrefix(note+", "+fate, ", ")
	}
	return []string{e.Name, Bytes(e.Size(p.After.SectorSize)), what, note}
}

// summary is what a content is, and where it goes.
func summary(c layout.Content) (what, note string) {
	on := func(mountpoint string) string {
		if mountpoint == "" {
			return ""
		}
		return "on " + mountpoint
	}
	switch s := c.Spec.(type) {
	case *layout.Filesystem:
		return s.Format, on(s.Mountpoint)
	case *layout.Btrfs:
		list := []string{s.Mountpoint}
		for _, v := range s.Subvolumes {
			list = append(list, v.Mountpoint)
		}
		slices.Sort(list)
		return "btrfs", on(strings.Join(slices.DeleteFunc(list, func(m string) bool { return m == "" }), " "))
	case *layout.LUKS:
		what = "luks " + s.Name
		if s.Content != nil && s.Content.Spec != nil {
			inner, innerNote := summary(*s.Content)
			return what + " > " + inner, innerNote
		}
		return what, ""
	case *layout.LVMPV:
		return "lvm " + s.VG, ""
	case *layout.MDRaid:
		return "raid " + s.Name, ""
	case *layout.ZFS:
		return "zfs " + s.Pool, ""
	}
	return c.ContentType(), ""
}

// byStart are the entries in their order on the disk.
func byStart(t *layout.Table) []layout.Entry {
	return slices.SortedFunc(slices.Values(t.Entries), func(a, b layout.Entry) int { return cmp.Compare(a.FirstLBA, b.FirstLBA) })
}

// letter names the n-th partition of a picture.
func letter(n int) rune {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return rune(letters[n%len(letters)])
}

// bar draws a table to scale: every partition has at least one column, free
// space is dots.
func bar(t *layout.Table) string {
	columns := []rune(strings.Repeat(".", pictureWidth))
	sectors := max(1, t.Size/int64(t.SectorSize))
	column := func(lba uint64) int { return int((int64(lba)*pictureWidth + sectors/2) / sectors) }
	next := 0
	for i, e := range byStart(t) {
		from := max(next, column(e.FirstLBA))
		to := max(from+1, column(e.LastLBA+1))
		for c := from; c < min(to, pictureWidth); c++ {
			columns[c] = letter(i)
		}
		next = to
	}
	return string(columns)
}
