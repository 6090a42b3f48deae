package probe

import (
	"fmt"
	"io"
)

// ExtMinSize is the MinSize of an ext2, ext3 or ext4 that is mounted, of which
// statfs(2) tells how many blocks and inodes are free: its superblock on the medium is
// from before. 0: it is none.
func ExtMinSize(r io.ReaderAt, free, freeInodes uint64) (int64, error) {
	b := make(bytesOf, 1024)
	if _, err := r.ReadAt(b, 1024); err != nil {
		return 0, fmt.Errorf("probe: %w", err)
	}
	if !b.has(56, "\x53\xef") || b.le32(24) > 6 || b.le32(32) == 0 || b.le32(40) == 0 {
		return 0, nil
	}
	return extLeast(b, free, freeInodes), nil
}

// extBlocks is the size of a file system in its blocks.
func extBlocks(b bytesOf) uint64 {
	blocks := uint64(b.le32(4))
	if b.le32(96)&ext64bit != 0 {
		blocks |= uint64(b.le32(0x150)) << 32
	}
	return blocks
}

// extLeast is the estimate in bytes; 0: more is free than there is.
func extLeast(b bytesOf, free, freeInodes uint64) int64 {
	blocks, inodes := extBlocks(b), uint64(b.le32(0))
	size := uint64(1024) << b.le32(24)
	if product(blocks, size) == 0 || free > blocks || freeInodes > inodes {
		return 0
	}
	return extGeometry(b, blocks, size).least(blocks-free, inodes-freeInodes) * int64(size)
}

// extGroups is the geometry of an ext file system, in blocks.
type extGroups struct {
	blocks, size    int64 // the file system, and a block in bytes
	perGroup        int64
	inodesPerGroup  int64
	groups          int64
	own             int64 // of each group: inode table and bitmaps
	backup          int64 // superblock and descriptors, in some groups
	flex            int64 // groups whose tables stand together
	sparse, extents bool
}

func extGeometry(b bytesOf, blocks, size uint64) extGroups {
	const sparseSuper, extents, metaBG, flexBG = 0x1, 0x40, 0x10, 0x200
	incompat := b.le32(96)
	g := extGroups{
		blocks: int64(blocks), size: int64(size), perGroup: int64(b.le32(32)), inodesPerGroup: max(int64(b.le32(40)), 1),
		flex: 1, sparse: b.le32(100)&sparseSuper != 0, extents: incompat&extents != 0,
	}
	g.groups = (g.blocks + g.perGroup - 1) / g.perGroup
	inode, descriptor := int64(128), int64(32)
	if b.le32(76) > 0 {
		inode = int64(b.le16(88))
	}
	if incompat&ext64bit != 0 {
		descriptor = min(max(int64(b.le16(254)), 32), 1024)
	}
	g.own = (g.inodesPerGroup*inode+g.size-1)/g.size + 2
	g.backup = 1 + (g.groups*descriptor+g.size-1)/g.size + int64(b.le16(206))
	if incompat&metaBG != 0 {
		g.backup = 2 + int64(b.le32(260))
	}
	if incompat&flexBG != 0 {
		g.flex = 1 << min(b[372], 31)
	}
	return g
}

// overhead is what the first n groups have that is not data.
func (g extGroups) overhead(n int64) int64 {
	backups := n
	if g.sparse { // 0, 1, and the powers of 3, 5 and 7
		backups = min(n, 2)
		for _, base := range []int64{3, 5, 7} {
			for p := base; p < n; p *= base {
				backups++
			}
		}
	}
	return n*g.own + backups*g.backup
}

// withTables is how many groups have their tables at hand when there are n.
func (g extGroups) withTables(n int64) int64 {
	if g.flex == 1 {
		return n
	}
	return min(n+g.flex-n%g.flex, g.groups)
}

// least is the number of blocks that used ones, with that many inodes in use,
// can be brought down to, or all of them. It is never less than the estimate
// below which resize2fs refuses, and so follows it: whole groups go with their
// tables, the inodes in use keep as many as they need, flex_bg keeps a set, and
// moved data may need more extents.
func (g extGroups) least(used, inodes uint64) int64 {
	data := max(int64(used)-g.overhead(g.groups), 0)
	n := max((int64(inodes)+g.inodesPerGroup-1)/g.inodesPerGroup, 1)
	const mostGroups = 1 << 32 // the kernel's limit
	if g.own >= g.perGroup || n >= g.groups || g.groups > mostGroups {
		return g.blocks
	}
	n, before := g.needed(n, data)
	if n >= g.groups {
		return g.blocks
	}
	from := n - 1
	if from < g.flex {
		from = 0 // the first set of tables counts whole
	}
	least := (n-1)*g.perGroup + g.overhead(g.withTables(n)) - g.overhead(from) + max(data-before, 50)
	if g.extents {
		worst := max(data/(g.size/12-1)+1, int64(inodes))
		least += min(max(g.blocks-least, 0)/500+1, worst)
	}
	if least < 0 {
		return g.blocks
	}
	return min(least+least/64+64, g.blocks)
}

// needed is how many groups hold the data, at least n, and what the estimate
// takes for the room in all of them but the last: of groups added together it
// counts one.
func (g extGroups) needed(n, data int64) (groups, before int64) {
	tables := g.withTables(n)
	room := max(n*g.perGroup-g.overhead(tables), 0)
	before = (n-1)*g.perGroup - g.overhead(n-1)
	for range 10000 { // some five, of a real one
		if data <= room || n >= g.groups {
			return n, before
		}
		more := (data - room + g.perGroup - 1) / g.perGroup
		room += more * g.perGroup
		before += g.perGroup - (g.overhead(n) - g.overhead(n-1))
		if n += more; g.flex > 1 && n <= tables {
			continue
		}
		next := g.withTables(n)
		if full := min(next, n-1); full > tables {
			before += (full-tables)*g.perGroup - (g.overhead(full) - g.overhead(tables))
		}
		room -= g.overhead(next) - g.overhead(tables)
		tables = next
	}
	return g.groups, before
}
