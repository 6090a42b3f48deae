package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
)

// printDisks writes every disk as a line that says which it is, and a tree of
// what is on it.
func printDisks(out io.Writer, found envscan.Disks) error {
	var b bytes.Buffer
	if len(found.Disk) == 0 {
		b.WriteString("there are no disks\n")
	}
	found.Gaps = slices.DeleteFunc(slices.Clone(found.Gaps), func(g envscan.Gap) bool {
		return strings.HasSuffix(g.Fact, ".smart") // what is not shown is not missed
	})
	v := diskView{volumes: map[string]envscan.Volume{}, unread: map[string]bool{}}
	for _, g := range found.Gaps {
		v.unread[g.Path] = true
	}
	for _, vol := range found.Volume {
		v.volumes[vol.Name] = vol
	}
	for i, d := range found.Disk {
		if i > 0 {
			b.WriteString("\n")
		}
		v.print(&b, d)
	}
	if len(found.Gaps) > 0 {
		b.WriteString("\nnot read:\n")
	}
	for _, g := range found.Gaps {
		need := ""
		if g.Need != "" {
			need = "; it needs " + g.Need
		}
		fmt.Fprintf(&b, "  %s: %s%s\n", g.Path, g.Why, need)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// diskView collects the rows of a disk's tree.
type diskView struct {
	volumes map[string]envscan.Volume
	unread  map[string]bool // by path
	rows    []diskRow
}

// diskRow is a line: what it is, and for a device also how large and where.
type diskRow struct {
	tree, name, size, kind, content, label, uuid, use string
}

func (v *diskView) print(b *bytes.Buffer, d envscan.Disk) {
	fmt.Fprintln(b, strings.Join(identityOf(d), "  "))
	if t := d.Table; t != nil {
		fmt.Fprintf(b, "  %s %s, sectors of %d bytes\n", tableKind(t), tableID(t), t.SectorSize)
	}
	for _, damage := range d.TableDamage {
		fmt.Fprintf(b, "  warning: %s\n", damage)
	}
	v.rows = nil
	if nodes := v.contents(d.Contents, d.Size); len(nodes) > 0 {
		v.draw(nodes, "", true)
	} else if d.Table == nil && !v.unread[sysfs.Node(d.Name)] {
		fmt.Fprintln(b, "  no table, and nothing else that is known")
	}
	writeRows(b, v.rows)
}

func identityOf(d envscan.Disk) []string {
	name, flags := d.Name, []string{}
	if d.Transport != "image" {
		name = sysfs.Node(d.Name)
	}
	id := []string{name, plan.Bytes(d.Size), d.Transport, d.Model}
	if d.Transport == "virtual" {
		d.Path, d.Rotational = "", false // made up
	}
	for _, p := range [][2]string{{"serial ", d.Serial}, {"wwn ", d.WWN}, {"at ", d.Path}} {
		if p[1] != "" {
			id = append(id, p[0]+p[1])
		}
	}
	for _, p := range []struct {
		set  bool
		text string
	}{{d.Rotational, "rotational"}, {d.Removable, "removable"}, {d.ReadOnly, "read-only"}} {
		if p.set {
			flags = append(flags, p.text)
		}
	}
	return slices.DeleteFunc(append(id, strings.Join(flags, ", ")), func(s string) bool { return s == "" })
}

func tableKind(t *layout.Table) string {
	if t.Kind == layout.KindMBR {
		return "MBR"
	}
	return "GPT"
}

// tableID is the name that tools print: of an MBR eight digits.
func tableID(t *layout.Table) string {
	if t.Kind == layout.KindMBR {
		return t.GUID.String()[:8]
	}
	return t.GUID.String()
}

// diskNode is a device, or a piece of content, with what is inside.
type diskNode struct {
	row      diskRow
	children []diskNode
}

// contents is what is on a device: contents that are no partition's, the
// partitions with the room between them, and what is made from the device.
func (v *diskView) contents(c envscan.Contents, size int64) []diskNode {
	var nodes []diskNode
	for _, r := range c.Content {
		nodes = append(nodes, diskNode{row: describeContent(diskRow{name: "(all of it)", use: useOf(c.Use)}, r)})
	}
	if len(c.Content) == 0 && useOf(c.Use) != "" {
		nodes = append(nodes, diskNode{row: diskRow{name: "(all of it)", use: useOf(c.Use)}})
	}
	nodes = append(nodes, v.partitions(c, size)...)
	return append(nodes, v.holders(c.Use)...)
}

// leastFree is the least room between partitions that is shown.
const leastFree = 4 << 20

func (v *diskView) partitions(c envscan.Contents, size int64) []diskNode {
	list := slices.Clone(c.Partition)
	slices.SortStableFunc(list, func(a, b envscan.Partition) int { return cmp.Compare(a.Offset, b.Offset) })
	var nodes []diskNode
	end := int64(0)
	free := func(to int64) {
		if c.Table != nil && to-end >= leastFree {
			nodes = append(nodes, diskNode{row: diskRow{name: "(free)", size: plan.Bytes(to - end)}})
		}
	}
	for _, p := range list {
		free(p.Offset)
		e := entryOf(c.Table, p.Number)
		nodes = append(nodes, v.partition(p, e))
		if isExtended(e) {
			end = max(end, p.Offset) // what is in it follows
		} else {
			end = max(end, p.Offset+p.Size)
		}
	}
	free(size)
	return nodes
}

func isExtended(e *layout.Entry) bool {
	return e != nil && e.MBR != nil && e.MBR.Part == "extended"
}

func entryOf(t *layout.Table, number int) *layout.Entry {
	if t == nil {
		return nil
	}
	for i, e := range t.Entries {
		if e.Number == number {
			return &t.Entries[i]
		}
	}
	return nil
}

func (v *diskView) partition(p envscan.Partition, e *layout.Entry) diskNode {
	row := diskRow{name: cmp.Or(p.Name, fmt.Sprintf("partition %d", p.Number)), size: plan.Bytes(p.Size), kind: partitionKind(e), use: useOf(p.Use)}
	return v.device(row, p.Content, p.Use, p.Size)
}

// device is a row for the first thing that it holds, and one more for each
// other.
func (v *diskView) device(row diskRow, content []probe.Result, use envscan.Use, size int64) diskNode {
	n := diskNode{row: row}
	for i, r := range content {
		if i == 0 {
			n.row = describeContent(row, r)
		} else {
			n.children = append(n.children, diskNode{row: describeContent(diskRow{name: "(and)"}, r)})
		}
	}
	if len(content) == 1 && content[0].Size > 0 && size-content[0].Size >= leastFree && content[0].Usage != probe.UsageCrypto {
		n.row.use = join(n.row.use, "takes "+plan.Bytes(content[0].Size))
	}
	n.children = append(n.children, v.holders(use)...)
	return n
}

func (v *diskView) holders(use envscan.Use) []diskNode {
	var nodes []diskNode
	for _, h := range use.Holders {
		vol, ok := v.volumes[h]
		if !ok {
			nodes = append(nodes, diskNode{row: diskRow{name: h}})
			continue
		}
		row := diskRow{name: vol.Name, size: plan.Bytes(vol.Size), kind: strings.TrimSpace(vol.Kind + " " + vol.Title), use: useOf(vol.Use)}
		n := v.device(row, vol.Content, vol.Use, vol.Size)
		n.children = append(v.partitions(vol.Contents, vol.Size), n.children...)
		nodes = append(nodes, n)
	}
	return nodes
}

// describeContent adds what a content is to the row of its device.
func describeContent(row diskRow, r probe.Result) diskRow {
	row.content, row.label, row.uuid = r.Type, r.Label, r.UUID
	switch {
	case r.Usage == probe.UsageCrypto, r.Type == "vfat":
		row.content = join2(r.Type, r.Version)
	case r.Type == "linux_raid_member":
		row.content = join2(r.Type, r.Version)
	}
	if g := r.Group; g != nil {
		row.label = cmp.Or(row.label, g.Name)
		if g.Level != "" {
			row.use = join(row.use, fmt.Sprintf("%s of %d%s", g.Level, g.Devices, roleOf(g)))
		} else if g.Devices > 1 {
			row.use = join(row.use, fmt.Sprintf("one of %d devices", g.Devices))
		}
	}
	if r.Clean != nil && !*r.Clean {
		row.use = join(row.use, "not clean")
	}
	return row
}

func roleOf(g *probe.Group) string {
	if g.Role == nil {
		return ""
	}
	switch *g.Role {
	case -1:
		return ", a spare"
	case -2:
		return ", faulty"
	case -3:
		return ", a journal"
	}
	return fmt.Sprintf(", member %d", *g.Role)
}

func join2(a, b string) string { return strings.TrimSpace(a + " " + b) }

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

func useOf(u envscan.Use) string {
	use := ""
	if len(u.Mounts) > 0 {
		use = "mounted on " + strings.Join(u.Mounts, ", ")
	}
	if u.Swap {
		use = join(use, "swapped to")
	}
	return use
}

// draw makes rows of nodes, with the lines that connect them.
func (v *diskView) draw(nodes []diskNode, indent string, top bool) {
	for i, n := range nodes {
		line, below := "├─", "│ "
		if i == len(nodes)-1 {
			line, below = "└─", "  "
		}
		if top {
			line, below = "", ""
		}
		n.row.tree = indent + line
		v.rows = append(v.rows, n.row)
		v.draw(n.children, indent+below, false)
	}
}

// writeRows aligns the rows; columns that are empty everywhere are left out.
func writeRows(b *bytes.Buffer, rows []diskRow) {
	if len(rows) == 0 {
		return
	}
	table := [][]string{{"DEVICE", "SIZE", "WHAT", "CONTENT", "LABEL", "UUID", "USE"}}
	for _, r := range rows {
		table = append(table, []string{r.tree + r.name, r.size, r.kind, r.content, r.label, r.uuid, r.use})
	}
	var aligned bytes.Buffer
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, cells := range table {
		var shown []string
		for i, cell := range cells {
			if slices.ContainsFunc(table[1:], func(c []string) bool { return c[i] != "" }) {
				shown = append(shown, printable(cell))
			}
		}
		fmt.Fprintf(w, "  %s\n", strings.Join(shown, "\t"))
	}
	w.Flush() // into memory
	for line := range strings.Lines(aligned.String()) {
		fmt.Fprintln(b, strings.TrimRight(line, " \n"))
	}
}

// printable keeps what a label says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
